package crc32c

import "testing"

// TestOtherCPUs repeats the tests as on CPUs that have less.
func TestOtherCPUs(t *testing.T) {
	crc, folds := hasCRC, hasFold
	defer func() { hasCRC, hasFold = crc, folds }()
	t.Logf("this CPU: SSE 4.2 %v, VPCLMULQDQ on 512 bits %v", crc, folds)
	hasFold = false
	t.Run("without carry-less multiplication", TestEveryLengthAndAlignment)
	hasCRC = false
	t.Run("without SSE 4.2", TestEveryLengthAndAlignment)
}
