package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// restriction says which folders may import a package, and what the others do instead.
type restriction struct {
	path    string // the package or, ending in /, everything below it
	folders []string
	tests   bool // any test may
	instead string
}

const protoactor = "github.com/asynkron/protoactor-go/"

var (
	randomFolders = []string{"internal/seed", "internal/benchkit", "bench"}
	unsafeFolders = []string{"ringbuf", "mmaplog"}
	quicFolders   = []string{"transport", "internal/benchkit"}
)

// restrictions are tried in order; the first that names an import decides.
var restrictions = []restriction{
	{path: protoactor + "actor", folders: []string{"actors"},
		instead: "use the aliases of package actors"},
	{path: protoactor, instead: "only its package actor, and only in actors: the rest has defects"},
	{path: "github.com/VictoriaMetrics/metrics", folders: []string{"cmd/leat/internal/observe"},
		instead: "give plain figures: who embeds or dials a bus links no metrics library"},
	{path: "github.com/danielgtaylor/huma/", folders: []string{"gateway/http"},
		instead: "routes of the HTTP door are registered there"},
	{path: "github.com/expr-lang/expr/", folders: []string{"internal/filter"},
		instead: "who dials a bus passes expressions on: nodes compile them"},
	{path: "github.com/quic-go/quic-go", folders: quicFolders, tests: true, instead: "use package transport"},
	{path: "github.com/quic-go/quic-go/", folders: quicFolders, tests: true, instead: "use package transport"},
	{path: "unsafe", folders: unsafeFolders, instead: "keep it behind ringbuf or mmaplog"},
	{path: "C", instead: "the module builds without cgo"},
	{path: "math/rand", folders: randomFolders, tests: true, instead: "take a seed or a source"},
	{path: "math/rand/v2", folders: randomFolders, tests: true, instead: "take a seed or a source"},
	{path: "crypto/rand", folders: randomFolders, tests: true, instead: "take a seed or a source"},
}

// exception lets one folder import one restricted package.
type exception struct{ folder, path, reason string }

// exceptions is the list of places that need a restricted package themselves.
var exceptions = []exception{
	{".", "crypto/rand", "ids of producers must differ between all clients, so their seed is the system's"},
	{"internal/netfault", "math/rand/v2", "it draws faults from the seed that it is given"},
	{"internal/powercut", "math/rand/v2", "it draws power cuts from the seed that it is given"},
	{"transport/certs", "crypto/rand", "keys must be unpredictable also to those who know the seed"},
	{"gateway/http", "crypto/rand", "the key that signs tokens must be unpredictable"},
	{"cmd/leat", "crypto/rand", "secrets of tokens must be unpredictable"},
	{"gateway/push", "crypto/rand", "secrets of signatures must be unpredictable"},
	{"node", "crypto/rand", "keys of the QUIC door and the name of a run must be unpredictable"},
}

// checkImports finds imports of packages that are kept to a few places.
func checkImports(t *Tree) []string {
	var findings []string
	for _, file := range t.goFiles() {
		for _, spec := range file.Syntax.Imports {
			path := importPath(spec)
			rule, ok := restrictionOf(path)
			if !ok || withinAny(file.Dir(), rule.folders...) || rule.tests && file.IsTest() ||
				excepted(file.Dir(), path) {
				continue
			}
			findings = append(findings, t.finding(file, spec.Pos(), "imports %s; allowed in: %s; %s",
				path, orNowhere(rule), rule.instead))
		}
	}
	return findings
}

func restrictionOf(path string) (restriction, bool) {
	for _, rule := range restrictions {
		if rule.path == path || strings.HasSuffix(rule.path, "/") && strings.HasPrefix(path, rule.path) {
			return rule, true
		}
	}
	return restriction{}, false
}

func excepted(dir, path string) bool {
	return slices.ContainsFunc(exceptions, func(e exception) bool {
		return e.path == path && within(dir, e.folder)
	})
}

func orNowhere(rule restriction) string {
	allowed := slices.Clone(rule.folders)
	if rule.tests {
		allowed = append(allowed, "tests")
	}
	if len(allowed) == 0 {
		return "nowhere"
	}
	return strings.Join(allowed, " ")
}

// clockFunctions read the time or start a timer.
var clockFunctions = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
}

// clockFolders may call them: the clock itself, the instruments that measure real time, and the
// examples, which show what users write: they have no access to internal/clock.
var clockFolders = []string{"internal/clock", "internal/benchkit", "bench", "examples"}

// checkClock finds code that reads the time or waits by itself, and tests that sleep.
func checkClock(t *Tree) []string {
	var findings []string
	for _, file := range t.goFiles() {
		names := importNames(file, "time")
		if slices.Contains(names, ".") {
			findings = append(findings,
				fmt.Sprintf("%s: imports time with a dot, which hides its calls", file.Path))
		}
		ast.Inspect(file.Syntax, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok || !isPackage(selector.X, names) {
				return true
			}
			if instead := clockBreach(file, selector.Sel.Name); instead != "" {
				findings = append(findings, t.finding(file, selector.Pos(), "time.%s; %s",
					selector.Sel.Name, instead))
			}
			return true
		})
	}
	return findings
}

// clockBreach returns what a file should do instead of calling time.<function>, or "" if it may.
func clockBreach(file *File, function string) string {
	switch {
	case !slices.Contains(clockFunctions, function):
		return ""
	case file.IsTest() && function == "Sleep":
		return "tests wait for a condition, or use testing/synctest and a timer"
	case file.IsTest() || withinAny(file.Dir(), clockFolders...):
		return ""
	default:
		return "take a clock.Clock; allowed in: " + strings.Join(clockFolders, " ") + " tests"
	}
}

// importNames returns the names under which a file imports a package of the standard library.
func importNames(file *File, path string) []string {
	var names []string
	for _, spec := range file.Syntax.Imports {
		switch {
		case importPath(spec) != path:
		case spec.Name != nil:
			names = append(names, spec.Name.Name)
		default:
			names = append(names, path[strings.LastIndex(path, "/")+1:])
		}
	}
	return names
}

// isPackage reports whether expr is one of names as a package: the parser resolves what the file
// itself declares, and leaves imports unresolved.
func isPackage(expr ast.Expr, names []string) bool {
	ident, ok := expr.(*ast.Ident)
	return ok && ident.Obj == nil && slices.Contains(names, ident.Name)
}
