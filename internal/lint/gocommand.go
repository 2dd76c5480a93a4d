package lint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// runGo runs the go command in a folder, with additions to the environment, and returns its standard
// output. The error carries what it wrote to standard error.
func runGo(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		return stdout, fmt.Errorf("lint: go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout, nil
}

// platform is a target of the go command.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func (p platform) env() []string {
	return []string{"GOOS=" + p.os, "GOARCH=" + p.arch, "CGO_ENABLED=0"}
}

// linkPlatforms are where the set of linked packages is looked at; files differ by system.
var linkPlatforms = []platform{{"linux", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// heavyModules are what a program that only speaks to a bus must not carry.
var heavyModules = []string{
	"github.com/asynkron/", "github.com/prometheus/", "go.opentelemetry.io/",
	"github.com/VictoriaMetrics/", "github.com/spf13/",
}

// lightModules are all that the packages which are useful alone may link beside the standard library.
var lightModules = []string{"golang.org/x/sys/", "github.com/cespare/xxhash/v2"}

// linkRule bounds what a program links that imports nothing but one package.
type linkRule struct {
	dir    string
	denied func(importPath string) bool
	allows string
}

var linkRules = []linkRule{
	{".", isHeavy, "no actor framework, metrics, tracing or command library"},
	{"ringbuf", isNotLightFor("ringbuf"), "std, x/sys, xxhash and internal/clock"},
	{"routing", isNotLightFor("routing"), "std, x/sys, xxhash and lower layers"},
	{"core", isNotLightFor("core"), "std, x/sys, xxhash and lower layers"},
	{"mmaplog", isNotLightFor("mmaplog"), "std, x/sys, xxhash and lower layers"},
}

func isHeavy(importPath string) bool { return hasAnyPrefix(importPath, heavyModules) }

func isNotLightFor(dir string) func(string) bool {
	return func(importPath string) bool {
		other, ours := moduleDir(importPath)
		if !ours {
			return !hasAnyPrefix(importPath, lightModules)
		}
		from, _ := unitOf(dir)
		to, known := unitOf(other)
		allowed := to.folder == from.folder || to.layer < from.layer || slices.Contains(from.also, to.folder)
		return !known || !allowed
	}
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

// checkLinks finds packages that a rule of linkRules keeps out but a build would link. Packages that
// do not exist are passed over.
func checkLinks(ctx context.Context, root string) ([]string, error) {
	var findings []string
	for _, rule := range linkRules {
		if !holdsGo(root, rule.dir) {
			continue
		}
		for _, target := range linkPlatforms {
			linked, err := linkedPackages(ctx, root, rule.dir, target)
			if err != nil {
				return nil, err
			}
			for _, importPath := range linked {
				if rule.denied(importPath) {
					findings = append(findings, fmt.Sprintf("%s on %s links %s; allowed: %s",
						rule.dir, target, importPath, rule.allows))
				}
			}
		}
	}
	return findings, nil
}

// linkedPackages returns what a package needs outside the standard library, itself included. It
// works without a compiler run, and for packages that do not compile.
func linkedPackages(ctx context.Context, root, dir string, target platform) ([]string, error) {
	stdout, err := runGo(ctx, root, target.env(), "list", "-e", "-deps",
		"-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+dir)
	return strings.Fields(string(stdout)), err
}

// holdsGo reports whether a folder holds Go code.
func holdsGo(root, dir string) bool {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	return err == nil && len(files) > 0
}

// goMod is what the rules read of go mod edit -json.
type goMod struct {
	Require []struct{ Path, Version string }
	Go      string
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

// checkModules finds replacements: users of a module do not get them. The only one allowed is that of
// the root by a module inside the repository, such as bench. That versions are exact the go command
// sees to itself: it refuses to read anything else.
func checkModules(ctx context.Context, root string) ([]string, error) {
	var findings []string
	for _, dir := range []string{".", "bench"} {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err != nil && dir != "." {
			continue
		}
		stdout, err := runGo(ctx, filepath.Join(root, dir), nil, "mod", "edit", "-json")
		if err != nil {
			return nil, err
		}
		var module goMod
		if err := json.Unmarshal(stdout, &module); err != nil {
			return nil, fmt.Errorf("lint: go mod edit -json in %s: %w", dir, err)
		}
		findings = append(findings, module.breaches(dir)...)
	}
	return findings, nil
}

func (m goMod) breaches(dir string) []string {
	var findings []string
	for _, replace := range m.Replace {
		inside := dir != "." && replace.Old.Path == ModulePath && strings.TrimSuffix(replace.New.Path, "/") == ".."
		if !inside {
			findings = append(findings, fmt.Sprintf("%s/go.mod: replaces %s by %s: users would not get that",
				dir, replace.Old.Path, replace.New.Path))
		}
	}
	return findings
}

// crossPlatforms are built without being run here: what compiles only on the machine of the person
// who wrote it does not merge.
var crossPlatforms = []platform{{"darwin", "arm64"}, {"windows", "amd64"}, {"linux", "arm64"}}

// crossDirs are the packages that every platform gets.
var crossDirs = []string{".", "core", "ringbuf", "routing", "mmaplog", "node", "cmd/leat"}

// crossVet vets, tests included, and builds those of crossDirs that exist.
func crossVet(ctx context.Context, root string, target platform) error {
	var packages []string
	for _, dir := range crossDirs {
		if holdsGo(root, dir) {
			packages = append(packages, "./"+dir)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	if _, err := runGo(ctx, root, target.env(), append([]string{"vet"}, packages...)...); err != nil {
		return err
	}
	// The null device keeps a single command from landing in the repository.
	build := append([]string{"build", "-o", os.DevNull}, packages...)
	_, err := runGo(ctx, root, target.env(), build...)
	return err
}
