// Package mmaplog is a segmented log of frames: one writer per log, any number of readers, recovery
// that tells a torn tail from damage.
package mmaplog
