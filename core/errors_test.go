package core

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCodesTable(t *testing.T) {
	numbers, names, last := map[Code]bool{}, map[string]bool{}, Code(0)
	for _, row := range Codes {
		if row.Text == "" || row.Hint == "" || row.Name == "" {
			t.Errorf("%v: text %q, hint %q, name %q: none may be empty", row.Code, row.Text, row.Hint, row.Name)
		}
		if !regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`).MatchString(row.Name) {
			t.Errorf("%v: name %q is not in SCREAMING_CASE", row.Code, row.Name)
		}
		if strings.HasSuffix(row.Text, ".") || strings.ToLower(row.Text[:1]) != row.Text[:1] {
			t.Errorf("%v: text %q: want a clause in lower case", row.Code, row.Text)
		}
		if numbers[row.Code] || names[row.Name] {
			t.Errorf("%v %s occurs twice", row.Code, row.Name)
		}
		if row.Code <= last {
			t.Errorf("%v stands after %v: want rising numbers", row.Code, last)
		}
		if row.Exit < 1 || row.Exit > 5 {
			t.Errorf("%v: exit code %d, want 1 to 5", row.Code, row.Exit)
		}
		if row.Code.Info() != row {
			t.Errorf("%v.Info() = %+v, want its row", row.Code, row.Code.Info())
		}
		numbers[row.Code], names[row.Name], last = true, true, row.Code
	}
}

// declaredNames reads errors.go for its constants of type Code and its sentinels.
func declaredNames(t *testing.T) (codes, sentinels []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, name := range spec.Names {
			if typed, ok := spec.Type.(*ast.Ident); ok && typed.Name == "Code" {
				codes = append(codes, strings.TrimPrefix(name.Name, "Code"))
			}
			if after, ok := strings.CutPrefix(name.Name, "Err"); ok {
				sentinels = append(sentinels, after)
			}
		}
		return true
	})
	return codes, sentinels
}

func TestEveryCodeHasRowAndSentinel(t *testing.T) {
	codes, sentinels := declaredNames(t)
	if len(codes) != len(Codes) {
		t.Errorf("%d codes are declared, the table has %d rows", len(codes), len(Codes))
	}
	if !slices.Equal(codes, sentinels) {
		t.Errorf("codes %v\nsentinels %v: want one per code, in the same order", codes, sentinels)
	}
}

func TestSentinelsCarryTheirCode(t *testing.T) {
	all := []*Error{ErrInvalidConfig, ErrConfigMismatch, ErrInvalidName, ErrTopicExists,
		ErrTopicNotFound, ErrRecordTooLarge, ErrInvalidRecord, ErrMixedPartitions, ErrFull, ErrClosed,
		ErrLevelUnavailable, ErrOutOfSequence, ErrProducerFenced, ErrPartitionUnknown, ErrTailLost,
		ErrCodec, ErrStorageFull, ErrLogFenced, ErrCorrupt, ErrLocked, ErrVersionTooNew, ErrPermission,
		ErrIO, ErrOffsetOutOfRange, ErrUnavailable, ErrNotLeader, ErrProtocol, ErrUnsupported,
		ErrDraining, ErrLimited, ErrNotEmbedded, ErrWrongNode, ErrInvalidRequest, ErrUntrusted,
		ErrDenied, ErrInsecure, ErrUnauthenticated, ErrFenced, ErrGroupNotFound, ErrUnknownMember,
		ErrGroupActive, ErrStaleAck, ErrRedriving, ErrHandlerFailed, ErrRejected, ErrAttemptsExhausted,
		ErrNoResponders, ErrResponderLost, ErrRequestFailed, ErrInternal}
	if len(all) != len(Codes) {
		t.Fatalf("%d sentinels, %d codes", len(all), len(Codes))
	}
	for i, sentinel := range all {
		if sentinel.Code != Codes[i].Code {
			t.Errorf("sentinel %d has %v, want %v", i, sentinel.Code, Codes[i].Code)
		}
	}
}

// TestErrorPage holds docs/errors.md to the table: a section per code, with the same number, name,
// text and hint, and what it means, when it happens and what to do.
func TestErrorPage(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")[1:]
	if len(sections) != len(Codes) {
		t.Errorf("the page has %d sections, the table %d rows", len(sections), len(Codes))
	}
	for i, section := range sections {
		if i == len(Codes) {
			break
		}
		checkErrorSection(t, section, Codes[i])
	}
}

func checkErrorSection(t *testing.T, section string, row CodeInfo) {
	t.Helper()
	title, body, _ := strings.Cut(section, "\n")
	if want := row.Code.String() + " " + row.Name; title != want {
		t.Errorf("section %q, want %q", title, want)
	}
	retry := "no"
	if row.Retryable {
		retry = "yes"
	}
	facts := fmt.Sprintf("*%s* · retryable: %s · exit code %d", row.Text, retry, row.Exit)
	for _, want := range []string{facts, "**Meaning.** ", "**When.** ", "**What to do.** "} {
		if !strings.Contains(body, want) {
			t.Errorf("%s: the page lacks %q", row.Name, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{NewError(CodeClosed, "", nil), "leat: closed (LEAT-2008)"},
		{NewError(CodeTopicNotFound, `open topic "trades"`, nil),
			`leat: open topic "trades": the topic does not exist (LEAT-2003)`},
		{Errorf(CodeIO, "sync", "segment %d: %w", 7, fs.ErrClosed),
			"leat: sync: the disk answered with an error: segment 7: file already closed (LEAT-3007)"},
		{&Error{Code: 4242}, "leat: a broken invariant in Leat (LEAT-4242)"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

func TestErrorsIsAndAs(t *testing.T) {
	cause := fmt.Errorf("write: %w", fs.ErrPermission)
	err := fmt.Errorf("node: open: %w", NewError(CodePermission, `folder "data"`, cause))
	if !errors.Is(err, ErrPermission) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("errors.Is(%v) finds neither the sentinel nor the cause", err)
	}
	if errors.Is(err, ErrIO) || errors.Is(fs.ErrPermission, ErrPermission) {
		t.Errorf("errors.Is(%v, ErrIO) or of a foreign error = true", err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Op != `folder "data"` || e.Hint != CodePermission.Info().Hint {
		t.Errorf("errors.As(%v) = %+v, want op and hint", err, e)
	}
	if CodeOf(err) != CodePermission || CodeOf(fs.ErrExist) != CodeInternal || CodeOf(nil) != CodeInternal {
		t.Errorf("CodeOf = %v, %v, %v", CodeOf(err), CodeOf(fs.ErrExist), CodeOf(nil))
	}
}

func TestRetryable(t *testing.T) {
	for _, row := range Codes {
		err := fmt.Errorf("wrapped: %w", NewError(row.Code, "", nil))
		if got := Retryable(err); got != row.Retryable {
			t.Errorf("Retryable(%s) = %v, want %v", row.Name, got, row.Retryable)
		}
		if got := Retryable(&Error{Code: row.Code}); got != row.Retryable {
			t.Errorf("Retryable(bare %s) = %v, want %v", row.Name, got, row.Retryable)
		}
	}
	if Retryable(nil) || Retryable(fs.ErrExist) {
		t.Error("nil or a foreign error is retryable")
	}
	if !Retryable(&Error{Code: CodeIO, Retryable: true}) {
		t.Error("an error marked as retryable is not")
	}
}

func TestHintFor(t *testing.T) {
	if got := HintFor(fmt.Errorf("x: %w", ErrLocked)); got != CodeLocked.Info().Hint {
		t.Errorf("HintFor(ErrLocked) = %q, want the table's", got)
	}
	if got := HintFor(&Error{Code: CodeLocked, Hint: "own"}); got != "own" {
		t.Errorf("HintFor(own hint) = %q", got)
	}
	if got := HintFor(&Error{Code: CodeLocked}); got != CodeLocked.Info().Hint {
		t.Errorf("HintFor(no hint) = %q, want the table's", got)
	}
	if got := HintFor(fs.ErrExist); got != "" {
		t.Errorf("HintFor(foreign) = %q, want none", got)
	}
}
