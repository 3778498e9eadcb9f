package segmentfile

import (
	"fmt"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// Retention says which segments are removed. A segment goes when every rule that
// is given allows it, and nobody needs it any more.
type Retention struct {
	Age      string        `walplex:"age" doc:"keep what was received in this time: days and hours, such as 7d or 36h"`
	Size     int64         `walplex:"size" format:"bytes" default:"0" doc:"keep so much: the oldest segments go when all together take more; 0 is no rule"`
	Backup   string        `walplex:"backup" doc:"keep what this base backup needs: newest:2 for the two newest, or a backup's label, by the backup history files in the directory"`
	DryRun   bool          `walplex:"dry_run" default:"false" doc:"remove nothing, and log what would be"`
	Interval time.Duration `walplex:"interval" default:"1m" doc:"how often is looked"`
}

// defaultInterval is how often is looked for segments to be removed.
const defaultInterval = time.Minute

// validate answers what is wrong with it.
func (r *Retention) validate() []sdk.ConfigError {
	if r == nil {
		return nil
	}
	var out []sdk.ConfigError
	wrong := func(name, summary, detail string) {
		out = append(out, sdk.ConfigError{Path: []any{"retention", name}, Summary: summary, Detail: detail})
	}
	if r.Age == "" && r.Size == 0 && r.Backup == "" {
		out = append(out, sdk.ConfigError{Path: []any{"retention"}, Summary: "Retention without a rule", Detail: "give age, size or backup, or leave the block out: all WAL is kept then"})
	}
	if r.Age != "" {
		if _, err := retention.ParseAge(r.Age); err != nil {
			wrong("age", "Not an age", err.Error())
		}
	}
	if r.Size < 0 {
		wrong("size", "Not a size", fmt.Sprintf("%d is below zero: write a size such as 100GiB", r.Size))
	}
	if err := retention.CheckBackup(r.Backup); err != nil {
		wrong("backup", "Not a backup", err.Error())
	}
	if r.Interval < 0 {
		wrong("interval", "Not an interval", "write a time such as 1m")
	}
	return out
}

// rules are those that need no look into the directory.
func (r *Retention) rules() (retention.Rules, error) {
	rules := retention.Rules{Size: r.Size}
	if r.Age == "" {
		return rules, nil
	}
	var err error
	rules.Age, err = retention.ParseAge(r.Age)
	return rules, err
}
