package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"strings"
	"unicode/utf8"
)

// Limits of size. A file near its limit holds two ideas, a function near its own does two things.
const (
	functionLinesMax = 70
	fileLinesMax     = 600
	testLinesMax     = 1200
	columnsMax       = 110 // in characters; a tab is one
)

// checkSize finds functions, files and lines that are too long.
func checkSize(t *Tree) []string {
	var findings []string
	for _, file := range t.goFiles() {
		limit := fileLinesMax
		if file.IsTest() {
			limit = testLinesMax
		}
		if n := bytes.Count(file.Source, []byte("\n")); n > limit {
			findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", file.Path, n, limit))
		}
		findings = append(findings, t.longFunctions(file)...)
		findings = append(findings, t.longLines(file)...)
	}
	return findings
}

func (t *Tree) longFunctions(file *File) []string {
	var findings []string
	for _, decl := range file.Syntax.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := t.line(function.End()) - t.line(function.Pos()) + 1
		if lines > functionLinesMax {
			findings = append(findings, t.finding(file, function.Pos(), "func %s has %d lines, at most %d",
				function.Name.Name, lines, functionLinesMax))
		}
	}
	return findings
}

func (t *Tree) longLines(file *File) []string {
	var findings []string
	free := t.freeLines(file)
	number := 0
	for line := range strings.Lines(string(file.Source)) {
		number++
		columns := utf8.RuneCountInString(strings.TrimRight(line, "\r\n"))
		if columns > columnsMax && !free[number] {
			findings = append(findings, fmt.Sprintf("%s:%d: %d columns, at most %d",
				file.Path, number, columns, columnsMax))
		}
	}
	return findings
}

// freeLines returns the lines that cannot be broken: addresses and tables in comments, directives,
// and raw strings of tests.
func (t *Tree) freeLines(file *File) map[int]bool {
	free := make(map[int]bool)
	for _, group := range file.Syntax.Comments {
		for _, comment := range group.List {
			for i, text := range strings.Split(comment.Text, "\n") {
				table := strings.Count(text, "|") >= 2 || strings.ContainsAny(text, "│─")
				if table || strings.Contains(text, "://") || strings.HasPrefix(text, "//go:") {
					free[t.line(comment.Pos())+i] = true
				}
			}
		}
	}
	if !file.IsTest() {
		return free
	}
	ast.Inspect(file.Syntax, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if ok && literal.Kind == token.STRING && strings.HasPrefix(literal.Value, "`") {
			for line := t.line(literal.Pos()); line <= t.line(literal.End()); line++ {
				free[line] = true
			}
		}
		return true
	})
	return free
}
