package lint

import (
	"strings"
	"testing"
	"testing/fstest"
)

// bites holds every rule to small trees: what it must find, and what it must leave alone.
var bites = []struct {
	rule, name string
	files      map[string]string
	want       []string // see func want
}{
	{"layers", "an arrow down", map[string]string{
		"core/a.go":       "package core\nimport _ \"github.com/leatbus/leat/internal/clock\"\n",
		"mmaplog/a.go":    "package mmaplog\nimport _ \"github.com/leatbus/leat/core\"\n",
		"cmd/leat/a.go":   "package main\nimport _ \"github.com/leatbus/leat/internal/benchkit\"\n",
		"core/names/a.go": "package names\nimport _ \"github.com/leatbus/leat/core\"\n",
	}, nil},
	{"layers", "an arrow up", map[string]string{
		"core/a.go": "package core\nimport _ \"github.com/leatbus/leat/mmaplog\"\n",
	}, []string{"core/a.go:2: core (layer 1) → mmaplog (layer 2) … core may import: ringbuf routing"}},
	{"layers", "an arrow to the root", map[string]string{
		"mmaplog/a.go": "package mmaplog\nimport _ \"github.com/leatbus/leat\"\n",
	}, []string{"mmaplog/a.go:2: mmaplog (layer 2) → . (layer 3)"}},
	{"layers", "an arrow sideways", map[string]string{
		"ringbuf/a.go":      "package ringbuf\nimport _ \"github.com/leatbus/leat/routing\"\n",
		"ringbuf/a_test.go": "package ringbuf\nimport _ \"github.com/leatbus/leat/core\"\n",
	}, []string{
		"ringbuf/a.go:2: ringbuf (layer 0) → routing (layer 0) … ringbuf may import: internal/clock",
		"ringbuf/a_test.go:2: ringbuf (layer 0) → core (layer 1)",
	}},
	{"layers", "only tests of the API run a node", map[string]string{
		"leat.go":      "package leat\nimport _ \"github.com/leatbus/leat/node\"\n",
		"leat_test.go": "package leat_test\nimport _ \"github.com/leatbus/leat/node\"\n",
	}, []string{"leat.go:2: . (layer 3) → node (layer 5)"}},
	{"layers", "unknown packages", map[string]string{
		"attic/a.go": "package attic\n",
		"node/a.go":  "package node\nimport _ \"github.com/leatbus/leat/attic\"\n",
	}, []string{"attic/a.go: the package has no layer", "node/a.go:2: node (layer 5) → attic (no layer)"}},

	{"size", "a long function", map[string]string{
		"core/a.go": "package core\n\nfunc ok() {\n" + strings.Repeat("\n", 68) + "}\n\nfunc long() {\n" +
			strings.Repeat("\n", 69) + "}\n",
	}, []string{"core/a.go:74: func long has 71 lines, at most 70"}},
	{"size", "a long file", map[string]string{
		"core/a.go":      "package core\n" + strings.Repeat("\n", 599),
		"core/b.go":      "package core\n" + strings.Repeat("\n", 600),
		"core/a_test.go": "package core\n" + strings.Repeat("\n", 1199),
		"core/b_test.go": "package core\n" + strings.Repeat("\n", 1200),
	}, []string{"core/b.go: 601 lines, at most 600", "core/b_test.go: 1201 lines, at most 1200"}},
	{"size", "a long line", map[string]string{
		"core/a.go": "package core\n\n// " + strings.Repeat("ä", 107) + "\n// " + strings.Repeat("ä", 108) + "\n",
	}, []string{"core/a.go:4: 111 columns, at most 110"}},
	{"size", "lines that cannot be broken", map[string]string{
		"core/a.go": "package core\n\n// https://example.com/" + strings.Repeat("a", 110) + "\n\n/*\n" +
			strings.Repeat("a", 111) + " | a | b\n*/\n",
		"core/a_test.go": "package core\n\nvar raw = `\n" + strings.Repeat("a", 111) + "`\n",
		"core/b.go":      "package core\n\nvar raw = `\n" + strings.Repeat("a", 111) + "`\n",
	}, []string{"core/b.go:4: 112 columns"}},

	{"imports", "protoactor", map[string]string{
		"actors/a.go": "package actors\nimport _ \"github.com/asynkron/protoactor-go/actor\"\n" +
			"import _ \"github.com/asynkron/protoactor-go/remote\"\n",
		"node/a_test.go": "package node\nimport _ \"github.com/asynkron/protoactor-go/actor\"\n",
	}, []string{
		"actors/a.go:3: imports github.com/asynkron/protoactor-go/remote; allowed in: nowhere",
		"node/a_test.go:2: imports github.com/asynkron/protoactor-go/actor; allowed in: actors;",
	}},
	{"imports", "unsafe and cgo", map[string]string{
		"ringbuf/a.go":   "package ringbuf\nimport _ \"unsafe\"\n",
		"mmaplog/a.go":   "package mmaplog\nimport _ \"unsafe\"\n",
		"core/a_test.go": "package core\nimport _ \"unsafe\"\n",
		"node/a.go":      "package node\nimport \"C\"\n",
	}, []string{
		"core/a_test.go:2: imports unsafe; allowed in: ringbuf mmaplog;",
		"node/a.go:2: imports C; allowed in: nowhere",
	}},
	{"imports", "randomness", map[string]string{
		"core/a.go":          "package core\nimport _ \"math/rand/v2\"\n",
		"core/a_test.go":     "package core\nimport _ \"math/rand/v2\"\n",
		"internal/seed/a.go": "package seed\nimport _ \"crypto/rand\"\n",
		"actors/a.go":        "package actors\nimport _ \"crypto/rand\"\nimport _ \"math/rand\"\n",
	}, []string{
		"actors/a.go:2: imports crypto/rand", "actors/a.go:3: imports math/rand",
		"core/a.go:2: imports math/rand/v2; allowed in: internal/seed",
	}},

	{"clock", "every way to tell the time", map[string]string{
		"node/a.go": "package node\nimport t \"time\"\nvar _ = []any{t.Now, t.Since, t.Until, t.Sleep, t.After,\n" +
			"t.AfterFunc, t.Tick, t.NewTimer, t.NewTicker}\nvar d t.Duration = t.Second\n",
	}, []string{
		"node/a.go:3: time.Now … allowed in: internal/clock",
		"node/a.go:3: time.Since", "node/a.go:3: time.Until",
		"node/a.go:3: time.Sleep", "node/a.go:3: time.After;", "node/a.go:4: time.AfterFunc",
		"node/a.go:4: time.Tick;", "node/a.go:4: time.NewTimer", "node/a.go:4: time.NewTicker",
	}},
	{"clock", "where it is allowed", map[string]string{
		"internal/clock/a.go":    "package clock\nimport \"time\"\nvar _ = time.Now\n",
		"internal/benchkit/a.go": "package benchkit\nimport \"time\"\nvar _ = time.Now\n",
		"node/a_test.go":         "package node\nimport \"time\"\nvar _ = time.Now\n",
		"node/b.go": "package node\nimport \"time\"\nvar _ time.Time\n" +
			"func f(time struct{ Now int }) int { return time.Now }\n",
	}, nil},
	{"clock", "a test that sleeps", map[string]string{
		"internal/clock/a_test.go": "package clock\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
	}, []string{"internal/clock/a_test.go:3: time.Sleep; tests wait for a condition"}},
	{"clock", "a dot", map[string]string{
		"node/a.go": "package node\nimport . \"time\"\nvar _ = Now\n",
	}, []string{"node/a.go: imports time with a dot"}},

	{"paths", "of a machine", map[string]string{
		"a.md":               "see " + slash("home") + "me/x\n",
		"b.sh":               "cd " + slash("work") + "\n",
		"c.go":               "package c\nvar x = \"" + slash("tmp") + "x\"\n",
		"core/testdata/d":    "x=" + slash("root") + "x\n",
		"e.txt":              "C:" + `\` + "Users" + `\` + "me\n",
		"f.txt":              "\"" + strings.TrimSuffix(slash("tmp"), "/") + "\"\n",
		"internal/lint/g.go": "package lint // " + slash("Users") + "me\n",
	}, []string{"a.md:1: absolute path", "b.sh:1: ", "c.go:2: ", "core/testdata/d:1: ", "e.txt:1: ", "f.txt:1: ",
		"internal/lint/g.go:1: "}},
	{"paths", "of a program", map[string]string{
		"a.md": "https://example.com" + slash("home") + " ../x" + slash("tmp") + " ${X}" + slash("work") +
			" /dev/shm /proc/self /tmpfs \"%T:\\n\" /metrics\n",
		"out/b.md":   slash("tmp"),
		".idea/c.md": slash("tmp"),
		"d.prof":     slash("tmp"),
		"e.bin":      "\x00" + slash("tmp"),
		".gitignore": "/out/\n*.prof\n",
	}, nil},

	{"packages", "complete", map[string]string{
		"core/doc.go":          "// Package core is documented.\npackage core\n",
		"core/a_test.go":       "package core\nfunc ExampleX() {}\n",
		"core/testdata/x/a.go": "package util\n",
	}, nil},
	{"packages", "no doc.go", map[string]string{
		"core/a.go":      "// Package core is documented in the wrong place.\npackage core\n",
		"core/a_test.go": "package core\nfunc TestX() {}\n",
		"node/doc.go":    "package node\n",
		"node/a_test.go": "package node\nfunc FuzzX() {}\n",
	}, []string{"core: no doc.go", "node: no doc.go"}},
	{"packages", "no test", map[string]string{
		"core/doc.go":     "// Package core is documented.\npackage core\n",
		"core/a_test.go":  "package core\nfunc TestMain() {}\nfunc BenchmarkX() {}\n",
		"cmd/leat/doc.go": "// Command leat is documented.\npackage main\n",
	}, []string{"cmd/leat: no test", "core: no test"}},
	{"packages", "vague names", map[string]string{
		"core/util/doc.go":    "// Package util is whatever.\npackage util\n",
		"core/util/a_test.go": "package util_test\nfunc TestX() {}\n",
		"node/doc.go":         "// Package common is in the wrong folder.\npackage common\n",
		"node/a_test.go":      "package common\nfunc TestX() {}\n",
	}, []string{"core/util: the name \"util\"",
		"node/a_test.go: package common", "node/doc.go: package common"}},

	{"format", "formatted and not", map[string]string{
		"core/a.go":          "package core\n\nvar x = 1\n",
		"core/b.go":          "package core\nvar  x = 1\n",
		"core/c.go":          "package core\nvar x = \n",
		"core/testdata/d.go": "package  core\n",
	}, []string{"core/b.go: not formatted", "core/c.go: does not parse"}},

	{"comments", "none", map[string]string{
		"core/a.go": "package core\ntype A struct{}\nfunc B() {}\nfunc (a *A) C() {}\n" +
			"var D, e = 1, 2\nconst (\n\tF = 1\n)\n" +
			"type (\n\tG int\n)\n// H has a comment.\ntype H interface{ I() }\nfunc (G[T]) J() {}\n",
	}, []string{"core/a.go:2: A is", "core/a.go:3: B is", "core/a.go:4: C is", "core/a.go:5: D is",
		"core/a.go:7: F is",
		"core/a.go:10: G is", "core/a.go:13: I is", "core/a.go:14: J is"}},
	{"comments", "enough", map[string]string{
		"core/a.go": "package core\n// A is.\ntype A struct{ Field int }\n// B is.\nfunc B() {}\n" +
			"func (a b[T]) C() {}\n" +
			"// Limits are.\nconst (\n\tF = 1\n)\ntype (\n\tG int // G is.\n)\nfunc (a *b) D() {}\n",
		"core/a_test.go": "package core\nfunc TestX() {}\n",
		"cmd/leat/a.go":  "package main\nfunc X() {}\n",
	}, nil},
}

// slash returns /name/; written out, it would break the rule it tests.
func slash(name string) string { return "/" + name + "/" }

func TestRulesBite(t *testing.T) {
	bitten := make(map[string]bool)
	for _, bite := range bites {
		t.Run(bite.rule+"/"+bite.name, func(t *testing.T) {
			root := make(fstest.MapFS)
			for name, source := range bite.files {
				root[name] = &fstest.MapFile{Data: []byte(source)}
			}
			tree, err := Load(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range rules {
				if rule.name == bite.rule {
					bitten[rule.name] = bitten[rule.name] || len(bite.want) > 0
					want(t, rule.check(tree), bite.want...)
				}
			}
		})
	}
	for _, rule := range rules {
		if !bitten[rule.name] {
			t.Errorf("rule %s is not proven to bite", rule.name)
		}
	}
}

// TestExceptions: a row lets its folder, and no other, import its package, and no other.
func TestExceptions(t *testing.T) {
	for _, e := range exceptions {
		if e.reason == "" {
			t.Errorf("%s may import %s without a reason", e.folder, e.path)
		}
	}
	saved := exceptions
	t.Cleanup(func() { exceptions = saved })
	exceptions = []exception{{"node", "crypto/rand", "ids must not be guessed"}}
	tree, err := Load(fstest.MapFS{
		"core/a.go":   {Data: []byte("package core\nimport _ \"crypto/rand\"\n")},
		"node/a.go":   {Data: []byte("package node\nimport _ \"crypto/rand\"\n")},
		"node/b.go":   {Data: []byte("package node\nimport _ \"math/rand\"\n")},
		"node/x/a.go": {Data: []byte("package x\nimport _ \"crypto/rand\"\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, checkImports(tree), "core/a.go:2: imports crypto/rand", "node/b.go:2: imports math/rand")
}
