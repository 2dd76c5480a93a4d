package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

type quake struct {
	ID        string  `json:"id"`
	Time      int64   `json:"time_ms"` // since 1970
	Magnitude float64 `json:"mag"`
	Depth     float64 `json:"depth_km"`
	Place     string  `json:"place"`
}

// statistics are those of one network, as they are stored under its name in the topic statistics.
type statistics struct {
	Count     int     `json:"count"`
	DepthSum  float64 `json:"depth_sum_km"`
	Strongest quake   `json:"strongest"`
	Offset    int64   `json:"offset"` // of the last quake counted
}

func (s *statistics) add(q quake, offset int64) {
	if s.Count == 0 || q.Magnitude > s.Strongest.Magnitude {
		s.Strongest = q
	}
	s.Count++
	s.DepthSum += q.Depth
	s.Offset = offset
}

func printTable(out io.Writer, table map[string]statistics) {
	fmt.Fprintf(out, "%-8s %6s %10s %14s  strongest at\n", "network", "quakes", "magnitude", "mean depth km")
	for _, network := range slices.Sorted(maps.Keys(table)) {
		row := table[network]
		fmt.Fprintf(out, "%-8s %6d %10.1f %14.1f  %s\n", network, row.Count, row.Strongest.Magnitude,
			row.DepthSum/float64(row.Count), row.Strongest.Place)
	}
}
