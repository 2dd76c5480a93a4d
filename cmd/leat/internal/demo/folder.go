package demo

import (
	"fmt"
	"math"
	"os"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// makeFolder makes the temporary folder, if the disk has room for the run.
func makeFolder(cfg *Config) (string, error) {
	return makeFolderWith(cfg, freeBytes)
}

func makeFolderWith(cfg *Config, freeBytes func(dir string) uint64) (string, error) {
	dir, err := os.MkdirTemp(cfg.Dir, "leat-demo-")
	if err != nil {
		return "", fmt.Errorf("demo: make a folder for the data: %w", err)
	}
	if free, need := freeBytes(dir), needBytes(cfg); free < need {
		// Nothing is in it yet.
		_ = os.Remove(dir)
		return "", &leat.Error{
			Code: core.CodeStorageFull,
			Op:   "demo",
			Hint: "free space, point TMPDIR at a larger disk, or lower --for or --rate",
			Err:  fmt.Errorf("%d MiB free in the temporary folder, this run needs %d", free>>20, need>>20),
		}
	}
	return dir, nil
}

// needBytes is what the run may have on disk at once.
func needBytes(cfg *Config) uint64 {
	const recordBytes, overhead = 80, 64 << 20
	records := float64(cfg.Rate) * cfg.For.Seconds()
	return uint64(math.Min(DiskBytes, records*recordBytes+overhead))
}
