package lint

import (
	"fmt"
	"slices"
	"strings"
)

// unit is one box of the layer picture in docs/architecture.md: a folder and everything below it.
type unit struct {
	folder string
	layer  int
	also   []string // units of the same layer it may import
	tests  []string // units of its layer or above that its tests may import
}

// units is the layer picture. Arrows point down only: a unit imports units of lower layers, plus what
// its own row adds.
var units = []unit{
	{folder: "ringbuf", layer: 0, also: []string{"internal/clock"}}, // it calibrates its pauses
	{folder: "routing", layer: 0},
	{folder: "internal/clock", layer: 0},
	{folder: "internal/crc32c", layer: 0},
	{folder: "internal/histogram", layer: 0},
	{folder: "internal/seed", layer: 0},
	{folder: "internal/skipmark", layer: 0},
	{folder: "internal/refscan", layer: 0},
	{folder: "internal/lint/check", layer: 6}, // a program: before its parent, for the first row decides
	{folder: "internal/lint", layer: 0},
	{folder: "core", layer: 1},
	{folder: "internal/netfault", layer: 1},
	{folder: "mmaplog", layer: 2},
	{folder: "internal/filter", layer: 2},
	{folder: "internal/dialer", layer: 2, also: []string{"transport"}},
	{folder: "transport", layer: 2},
	// The public API runs nothing by itself: its examples and tests need a bus to call.
	{folder: ".", layer: 3, tests: []string{"node", "actors"}},
	{folder: "actors", layer: 4, tests: []string{"node"}},
	{folder: "cluster", layer: 4, tests: []string{"node"}},
	{folder: "internal/messagedoc", layer: 4},
	{folder: "node", layer: 5},
	{folder: "internal/admindoc", layer: 5},
	// leat bench is a door to the scenarios of benchkit, leat serve opens the doors of gateway.
	{folder: "cmd", layer: 6, also: []string{"internal/benchkit", "gateway"}},
	{folder: "examples", layer: 6, tests: []string{"gateway", "leattest"}},
	{folder: "gateway", layer: 6, tests: []string{"leattest"}},
	{folder: "web", layer: 6},
	{folder: "leattest", layer: 6},
	{folder: "internal/benchkit", layer: 6},
	{folder: "internal/crashload", layer: 5},
	{folder: "internal/killtest", layer: 6},
	{folder: "internal/powercut", layer: 6},
	{folder: "internal/mill", layer: 6},
	{folder: "internal/mutants", layer: 6},
	{folder: "internal/conformance", layer: 6},
	{folder: "internal/nettest", layer: 6},
	{folder: "bench", layer: 6, also: []string{"internal/benchkit"}},
}

// unitOf returns the unit that a folder belongs to.
func unitOf(dir string) (unit, bool) {
	for _, u := range units {
		if u.folder == dir || u.folder != "." && within(dir, u.folder) {
			return u, true
		}
	}
	return unit{}, false
}

// allowed returns the folders that files of u may import.
func (u unit) allowed(test bool) []string {
	var folders []string
	for _, other := range units {
		if other.layer < u.layer {
			folders = append(folders, other.folder)
		}
	}
	folders = append(folders, u.also...)
	if test {
		folders = append(folders, u.tests...)
	}
	return folders
}

// checkLayers finds imports that point up or sideways, and packages that no layer was given.
func checkLayers(t *Tree) []string {
	var findings []string
	for _, file := range t.goFiles() {
		from, ok := unitOf(file.Dir())
		if !ok {
			findings = append(findings, fmt.Sprintf("%s: the package has no layer: "+
				"move it or give it a row in internal/lint/layers.go", file.Path))
			continue
		}
		for _, spec := range file.Syntax.Imports {
			dir, ours := moduleDir(importPath(spec))
			if !ours {
				continue
			}
			to, ok := unitOf(dir)
			if ok && (to.folder == from.folder || slices.Contains(from.allowed(file.IsTest()), to.folder)) {
				continue
			}
			findings = append(findings, t.finding(file, spec.Pos(), "%s → %s; %s may import: %s",
				layerName(from, true), layerName(to, ok, dir), from.folder,
				orNothing(from.allowed(file.IsTest()))))
		}
	}
	return findings
}

// moduleDir returns the folder of a package of this module.
func moduleDir(importPath string) (dir string, ours bool) {
	if importPath == ModulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, ModulePath+"/")
}

func layerName(u unit, known bool, dir ...string) string {
	if !known {
		return dir[0] + " (no layer)"
	}
	return fmt.Sprintf("%s (layer %d)", u.folder, u.layer)
}

func orNothing(folders []string) string {
	if len(folders) == 0 {
		return "nothing of this module"
	}
	return strings.Join(folders, " ")
}
