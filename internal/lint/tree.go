package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// ModulePath is the import path of the module whose rules these are.
const ModulePath = "github.com/leatbus/leat"

// Tree is the text of a repository: what git tracks or would track.
type Tree struct {
	Files []*File // sorted by path
	fset  *token.FileSet
}

// File is one text file of a Tree.
type File struct {
	Path   string // relative to the repository, with slashes
	Source []byte
	Syntax *ast.File // nil unless this is Go code that rules apply to and that parses
	Err    error     // why Syntax is nil although it is such code
}

// Dir returns the folder of the file, "." for the repository itself.
func (f *File) Dir() string { return path.Dir(f.Path) }

// IsTest reports whether the file is compiled into tests only.
func (f *File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Load reads a repository. It passes over binary files, hidden folders other than .ci, and what the
// simple lines of .gitignore name: /folder/ and *.ext. Go files under testdata stay plain text.
func Load(root fs.FS) (*Tree, error) {
	tree := &Tree{fset: token.NewFileSet()}
	ignored := readIgnored(root)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (isHidden(name) || ignored.folder(name)):
			return fs.SkipDir
		case !entry.Type().IsRegular() || ignored.file(name):
			return nil
		}
		return tree.read(root, name)
	})
	if err != nil {
		return nil, fmt.Errorf("lint: read the repository: %w", err)
	}
	return tree, nil
}

func isHidden(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, ".") && base != "." && base != ".ci"
}

func (t *Tree) read(root fs.FS, name string) error {
	source, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(source, 0) >= 0 {
		return nil
	}
	file := &File{Path: name, Source: source}
	if path.Ext(name) == ".go" && !slices.Contains(strings.Split(name, "/"), "testdata") {
		syntax, err := parser.ParseFile(t.fset, name, source, parser.ParseComments)
		if err != nil {
			file.Err = err
		} else {
			file.Syntax = syntax
		}
	}
	t.Files = append(t.Files, file)
	return nil
}

// goFiles returns the files that rules about Go code look at.
func (t *Tree) goFiles() []*File {
	return slices.DeleteFunc(slices.Clone(t.Files), func(f *File) bool { return f.Syntax == nil })
}

// line returns the line number of a position.
func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// finding formats one breach of a rule at a position of a file.
func (t *Tree) finding(f *File, pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.Path, t.line(pos), fmt.Sprintf(format, args...))
}

// importPath returns what an import names.
func importPath(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic("lint: the parser let a bad import path through: " + spec.Path.Value)
	}
	return name
}

// within reports whether dir is folder or lies below it.
func within(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

// withinAny reports whether dir is one of folders or lies below one.
func withinAny(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return within(dir, folder) })
}

// ignoreList is the part of .gitignore that Load understands.
type ignoreList struct{ folders, patterns []string }

func readIgnored(root fs.FS) ignoreList {
	var list ignoreList
	// Without the file nothing is ignored, which only makes the rules stricter.
	source, _ := fs.ReadFile(root, ".gitignore")
	for line := range strings.Lines(string(source)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "/") && strings.HasSuffix(line, "/"):
			list.folders = append(list.folders, strings.Trim(line, "/"))
		case strings.HasPrefix(line, "*"):
			list.patterns = append(list.patterns, line)
		}
	}
	return list
}

func (l ignoreList) folder(name string) bool { return slices.Contains(l.folders, name) }

func (l ignoreList) file(name string) bool {
	return slices.ContainsFunc(l.patterns, func(pattern string) bool {
		matched, err := path.Match(pattern, path.Base(name))
		return err == nil && matched
	})
}
