// Package pagepb is the protocol of the page_cache sink's service, generated
// from pages.proto, which describes it.
package pagepb

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-go-grpc=$(go tool -n protoc-gen-go-grpc) --go_out=paths=source_relative:. --go-grpc_out=paths=source_relative:. pages.proto"
