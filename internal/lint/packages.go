package lint

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// vagueNames say nothing about what a package is for, so everything ends up in it.
var vagueNames = []string{"util", "utils", "common", "helpers", "helper", "types", "base", "misc"}

// checkPackages finds packages without a doc.go that says what they are, packages without a test, and
// vague names.
func checkPackages(t *Tree) []string {
	var findings []string
	dirs, files := t.packages()
	for _, dir := range dirs {
		if name := path.Base(dir); slices.Contains(vagueNames, name) {
			findings = append(findings, fmt.Sprintf("%s: the name %q says nothing: "+
				"name the package after what it does", dir, name))
		}
		if !slices.ContainsFunc(files[dir], hasPackageComment) {
			findings = append(findings, fmt.Sprintf("%s: no doc.go with a package comment", dir))
		}
		if !slices.ContainsFunc(files[dir], hasTestFunction) {
			findings = append(findings, fmt.Sprintf("%s: no test", dir))
		}
		for _, file := range files[dir] {
			name := strings.TrimSuffix(file.Syntax.Name.Name, "_test")
			if slices.Contains(vagueNames, name) && name != path.Base(dir) {
				findings = append(findings, fmt.Sprintf("%s: package %s: the name says nothing", file.Path, name))
			}
		}
	}
	return findings
}

// packages returns the folders that hold Go code, in order, and their files.
func (t *Tree) packages() ([]string, map[string][]*File) {
	var dirs []string
	files := make(map[string][]*File)
	for _, file := range t.goFiles() {
		dir := file.Dir()
		if files[dir] == nil {
			dirs = append(dirs, dir)
		}
		files[dir] = append(files[dir], file)
	}
	return dirs, files
}

func hasPackageComment(file *File) bool {
	return path.Base(file.Path) == "doc.go" && file.Syntax.Doc.Text() != ""
}

// hasTestFunction reports whether go test runs anything of the file by default.
func hasTestFunction(file *File) bool {
	return file.IsTest() && slices.ContainsFunc(file.Syntax.Decls, func(decl ast.Decl) bool {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Recv != nil || function.Name.Name == "TestMain" {
			return false
		}
		name := function.Name.Name
		return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Example") ||
			strings.HasPrefix(name, "Fuzz")
	})
}
