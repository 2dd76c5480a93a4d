//go:build !linux

package log

import (
	"os"

	"github.com/leatbus/leat/internal/benchkit"
)

func syncData(file *os.File) error { return file.Sync() }

func writeOut(*os.File, int64, int64) error {
	return benchkit.Skipf("only Linux writes out part of a file")
}

func startWriteOut(*os.File, int64, int64) error { return nil }

func syncDisk(*os.File) error { return benchkit.Skipf("only Linux syncs a file system") }

func dropCache(string) error { return benchkit.Skipf("only Linux drops what it cached of a file") }

func mapForReading(*os.File, int64) ([]byte, error) {
	return nil, benchkit.Skipf("files are mapped on Linux only")
}

func unmap([]byte) error { return nil }

func writtenBytes() (int64, bool) { return 0, false }
