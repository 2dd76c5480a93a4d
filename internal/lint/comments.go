package lint

import (
	"go/ast"
	"go/token"
)

// checkComments finds exported names of importable packages without a doc comment: types, functions,
// methods of exported types and of exported interfaces, variables and constants.
func checkComments(t *Tree) []string {
	var findings []string
	for _, file := range t.goFiles() {
		if file.IsTest() || file.Syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range file.Syntax.Decls {
			for _, name := range uncommented(decl) {
				findings = append(findings,
					t.finding(file, name.Pos(), "%s is exported without a doc comment", name.Name))
			}
		}
	}
	return findings
}

// uncommented returns the exported names a declaration gives no comment.
func uncommented(decl ast.Decl) []*ast.Ident {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Doc.Text() == "" && decl.Name.IsExported() && receiverIsExported(decl) {
			return []*ast.Ident{decl.Name}
		}
	case *ast.GenDecl:
		var names []*ast.Ident
		for _, spec := range decl.Specs {
			names = append(names, uncommentedSpec(decl, spec)...)
		}
		return names
	}
	return nil
}

func uncommentedSpec(decl *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		var names []*ast.Ident
		alone := !decl.Lparen.IsValid()
		commented := spec.Doc.Text() != "" || spec.Comment.Text() != "" || alone && decl.Doc.Text() != ""
		if spec.Name.IsExported() && !commented {
			names = append(names, spec.Name)
		}
		return append(names, uncommentedMethods(spec)...)
	case *ast.ValueSpec:
		// One comment may introduce a whole block of constants or sentinels.
		if decl.Tok == token.IMPORT || spec.Doc.Text()+spec.Comment.Text()+decl.Doc.Text() != "" {
			return nil
		}
		var names []*ast.Ident
		for _, name := range spec.Names {
			if name.IsExported() {
				names = append(names, name)
			}
		}
		return names
	}
	return nil
}

func uncommentedMethods(spec *ast.TypeSpec) []*ast.Ident {
	interfaceType, ok := spec.Type.(*ast.InterfaceType)
	if !ok || !spec.Name.IsExported() {
		return nil
	}
	var names []*ast.Ident
	for _, method := range interfaceType.Methods.List {
		for _, name := range method.Names {
			if name.IsExported() && method.Doc.Text()+method.Comment.Text() == "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// receiverIsExported reports whether users can name what a function belongs to.
func receiverIsExported(function *ast.FuncDecl) bool {
	if function.Recv == nil {
		return true
	}
	receiver := function.Recv.List[0].Type
	for {
		switch expr := receiver.(type) {
		case *ast.StarExpr:
			receiver = expr.X
		case *ast.IndexExpr:
			receiver = expr.X
		case *ast.IndexListExpr:
			receiver = expr.X
		case *ast.ParenExpr:
			receiver = expr.X
		case *ast.Ident:
			return expr.IsExported()
		default:
			return true
		}
	}
}
