package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is the root of the checkout these tests run in.
const repository = "../.."

// rules are those that need nothing but the text of the repository.
var rules = []struct {
	name  string
	check func(*Tree) []string
}{
	{"layers", checkLayers},
	{"size", checkSize},
	{"imports", checkImports},
	{"clock", checkClock},
	{"paths", checkPaths},
	{"packages", checkPackages},
	{"format", checkFormat},
	{"comments", checkComments},
}

func TestRepository(t *testing.T) {
	tree, err := Load(os.DirFS(repository))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.goFiles()) == 0 {
		t.Fatal("no Go file found: the rules would pass on nothing")
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) { report(t, rule.check(tree)) })
	}
	t.Run("links", func(t *testing.T) {
		findings, err := checkLinks(t.Context(), root(t))
		if err != nil {
			t.Fatal(err)
		}
		report(t, findings)
	})
	t.Run("modules", func(t *testing.T) {
		findings, err := checkModules(t.Context(), root(t))
		if err != nil {
			t.Fatal(err)
		}
		report(t, findings)
	})
	for _, target := range crossPlatforms {
		t.Run("cross/"+target.os+"-"+target.arch, func(t *testing.T) {
			if testing.Short() {
				t.Skip("compiles every dependency for another platform; not in -short")
			}
			if err := crossVet(t.Context(), root(t), target); err != nil {
				t.Error(err)
			}
		})
	}
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, finding := range findings {
		t.Error(finding)
	}
}

func root(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// want fails unless findings are exactly those that begin with, and contain, the given parts: one
// finding per "start … part … part".
func want(t *testing.T, findings []string, wanted ...string) {
	t.Helper()
	if len(findings) != len(wanted) {
		t.Errorf("%d findings, want %d:\n%s", len(findings), len(wanted), strings.Join(findings, "\n"))
		return
	}
	for i, wanted := range wanted {
		parts := strings.Split(wanted, " … ")
		if !strings.HasPrefix(findings[i], parts[0]) {
			t.Errorf("finding %q, want it to begin with %q", findings[i], parts[0])
		}
		for _, part := range parts[1:] {
			if !strings.Contains(findings[i], part) {
				t.Errorf("finding %q, want it to contain %q", findings[i], part)
			}
		}
	}
}
