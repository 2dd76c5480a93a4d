package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeTree writes files, by slash-separated name, into a new folder and returns it.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, source := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLinksBite(t *testing.T) {
	root := writeTree(t, map[string]string{
		"go.mod": "module " + ModulePath + "\n\ngo 1.26\n\n" +
			"require github.com/spf13/cobra v1.0.0\nreplace github.com/spf13/cobra => ./cobra\n",
		"cobra/go.mod":   "module github.com/spf13/cobra\n",
		"cobra/cobra.go": "package cobra\n",
		// The root links it through core, and core only on one system.
		"leat.go":             "package leat\nimport _ \"" + ModulePath + "/core\"\n",
		"core/core.go":        "package core\nimport _ \"" + ModulePath + "/ringbuf\"\n",
		"core/core_darwin.go": "package core\nimport _ \"github.com/spf13/cobra\"\n",
		// Does not compile, and does not matter.
		"ringbuf/ringbuf.go": "package ringbuf\nimport _ \"" + ModulePath + "/routing\"\nvar x int = \"\"\n",
		"routing/routing.go": "package routing\n",
	})
	findings, err := checkLinks(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	sideways := "links " + ModulePath + "/routing; allowed: std"
	want(t, findings,
		". on darwin/arm64 links github.com/spf13/cobra; allowed: no actor framework",
		"ringbuf on linux/amd64 "+sideways, "ringbuf on darwin/arm64 "+sideways,
		"ringbuf on windows/amd64 "+sideways,
		"core on darwin/arm64 links github.com/spf13/cobra; allowed: std")
}

func TestModulesBite(t *testing.T) {
	root := writeTree(t, map[string]string{
		"go.mod": "module " + ModulePath + "\n\nrequire example.com/a v1.2.3\n" +
			"require example.com/c v0.0.0-20240822202345-3c0e61ca19c9\nreplace example.com/a => ../a\n",
		"bench/go.mod": "module " + ModulePath + "/bench\n\nrequire " + ModulePath + " v0.0.0\n" +
			"replace " + ModulePath + " => ../\nreplace example.com/a => ../a\n",
	})
	findings, err := checkModules(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	want(t, findings,
		"./go.mod: replaces example.com/a by ../a",
		"bench/go.mod: replaces example.com/a by ../a")
}

func TestModulesNeedExactVersions(t *testing.T) {
	for _, version := range []string{"main", "latest", "^v1.0.0", ">=v1.0.0"} {
		root := writeTree(t, map[string]string{
			"go.mod": "module " + ModulePath + "\n\nrequire example.com/a " + version + "\n",
		})
		if _, err := checkModules(t.Context(), root); err == nil {
			t.Errorf("a requirement of %q passed", version)
		}
	}
}

func TestCrossVetBites(t *testing.T) {
	root := writeTree(t, map[string]string{
		"go.mod":                    "module " + ModulePath + "\n\ngo 1.26\n",
		"core/core.go":              "package core\n",
		"core/core_windows.go":      "package core\nvar x int = \"\"\n",
		"mmaplog/mmaplog.go":        "package mmaplog\n",
		"mmaplog/a_darwin_test.go":  "package mmaplog\nvar x int = \"\"\n",
		"cmd/leat/main.go":          "package main\nfunc main() {}\n",
		"attic/not_in_crossDirs.go": "package attic\nvar x int = \"\"\n",
	})
	tests := []struct {
		target platform
		want   string
	}{
		{platform{"linux", "arm64"}, ""},
		{platform{"windows", "amd64"}, "core_windows.go:2"},
		{platform{"darwin", "arm64"}, "a_darwin_test.go:2"},
	}
	for _, tt := range tests {
		err := crossVet(t.Context(), root, tt.target)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v, want nil", tt.target, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want an error that contains %q", tt.target, err, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "leat")); err == nil {
		t.Error("the build left its output in the repository")
	}
}
