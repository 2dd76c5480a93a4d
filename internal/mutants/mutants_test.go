package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutantsWanted is how many defects are kept planted, at least.
const mutantsWanted = 12

// TestPatchesApply: each patch applies to the code as it is. That the tests catch them is for make mutants,
// which takes minutes.
func TestPatchesApply(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("patches are applied by git: ", err)
	}
	list, err := readPatches(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < mutantsWanted {
		t.Errorf("%d patches, want %d", len(list), mutantsWanted)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if err := p.apply(t.Context(), root, "--check"); err != nil {
			t.Error(err)
		}
	}
}

func TestParsePatch(t *testing.T) {
	p, err := parsePatch("some/early.patch",
		"What: too early\nAim: -run A|B ./x\nAim: -short ./y\n\ndiff --git a b\n")
	if err != nil || p.name != "early" || p.what != "too early" || len(p.aims) != 2 || p.aims[0][1] != "A|B" {
		t.Errorf("parsePatch = %+v, %v", p, err)
	}
	for _, bad := range []string{"", "What: x\n", "Aim: x\n", "diff a b\nWhat: x\nAim: y\n"} {
		if p, err := parsePatch("x.patch", bad); err == nil {
			t.Errorf("parsePatch(%q) = %+v, want an error", bad, p)
		}
	}
}

// TestPlant: a defect that a test finds is caught, one that none looks for is missed, and the copy is as it
// was afterwards.
func TestPlant(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("patches are applied by git: ", err)
	}
	from, dir, patches := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(path, text string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(from, "go.mod"), "module example\n\ngo 1.26\n")
	write(filepath.Join(from, "one.go"), "package example\n\nfunc One() int {\n\treturn 1\n}\n")
	write(filepath.Join(from, "one_test.go"), "package example\n\nimport \"testing\"\n\n"+
		"func TestOne(t *testing.T) {\n\tif One() < 1 {\n\t\tt.Error(One())\n\t}\n}\n")
	if err := copyModule(from, dir); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"0": "caught TestOne", "2": "missed", "one": "does not compile"} {
		path := write(filepath.Join(patches, "p.patch"), "What: x\nAim: .\n\ndiff --git a/one.go b/one.go\n"+
			"--- a/one.go\n+++ b/one.go\n@@ -1,5 +1,5 @@\n package example\n \n func One() int {\n"+
			"-\treturn 1\n+\treturn "+value+"\n }\n")
		list, err := readPatches(patches)
		if err != nil {
			t.Fatal(path, err)
		}
		v, err := plant(t.Context(), dir, &list[0])
		got := "missed"
		if err != nil {
			got = err.Error()
		} else if v.caught {
			got = "caught " + v.by
		}
		if !strings.Contains(got, want) {
			t.Errorf("plant of %s: %s, want %s", value, got, want)
		}
		text, err := os.ReadFile(filepath.Join(dir, "one.go"))
		if err != nil || !strings.Contains(string(text), "return 1") {
			t.Errorf("the copy after %s: %s, %v", value, text, err)
		}
	}
}
