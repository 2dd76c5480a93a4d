//go:build !linux

package mmaplog

func mapLimit() int64 { return usualMaps }
