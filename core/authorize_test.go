package core

import (
	"errors"
	"strings"
	"testing"
)

func TestAuthorize(t *testing.T) {
	scopes := func(texts ...string) *Principal {
		p := &Principal{Name: "p"}
		for _, text := range texts {
			scope, err := ParseScope(text)
			if err != nil || scope.String() != text {
				t.Fatalf("ParseScope(%q) = %v, %v", text, scope, err)
			}
			p.Scopes = append(p.Scopes, scope)
		}
		return p
	}
	type row struct {
		who    *Principal
		action Action
		topic  string
		want   error
	}
	for _, tt := range []row{
		{nil, ActionDescribe, "t", ErrUnauthenticated},
		{nil, ActionAdmin, "", ErrUnauthenticated},
		{Everyone, ActionAdmin, "", nil},
		{Everyone, ActionPublish, "t", nil},
		{scopes(), ActionDescribe, "t", ErrDenied},
		{scopes("admin"), ActionAdmin, "", nil},
		{scopes("admin"), ActionRead, "t", nil},
		{scopes("publish:t"), ActionPublish, "t", nil},
		{scopes("publish:t"), ActionPublish, "tt", ErrDenied},
		{scopes("publish:t"), ActionRead, "t", ErrDenied},
		{scopes("publish:t"), ActionDescribe, "t", nil},
		{scopes("publish:t"), ActionDescribe, "u", ErrDenied},
		{scopes("publish:*", "read:*"), ActionAdmin, "", ErrDenied},
		{scopes("read:a.*"), ActionRead, "a.b", nil},
		{scopes("read:a.*"), ActionRead, "a.", nil},
		{scopes("read:a.*"), ActionRead, "a", ErrDenied},
		{scopes("read:a.*"), ActionRead, "ab", ErrDenied},
		{scopes("read:a", "publish:*"), ActionPublish, "z", nil},
	} {
		err := Authorize(tt.who, tt.action, tt.topic)
		if !errors.Is(err, tt.want) {
			t.Errorf("Authorize(%+v, %v, %q) = %v; want %v", tt.who, tt.action, tt.topic, err, tt.want)
		}
		if err != nil && HintFor(err) == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if err := Authorize(&Principal{Name: "p"}, ActionDescribe, "t"); !strings.Contains(HintFor(err), "read:t") {
		t.Errorf("hint %q", HintFor(err))
	}
	for _, text := range []string{"", "publish", "publish:", "read:a b", "read:**", "read:*a", "admin:t",
		"describe:t",
		"Read:t", "read:" + strings.Repeat("x", MaxNameBytes+1)} {
		if scope, err := ParseScope(text); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("ParseScope(%q) = %v, %v; want an error", text, scope, err)
		}
	}
}

func TestParseTokens(t *testing.T) {
	a, b := HashToken("secret a"), HashToken("secret b")
	tokens, err := ParseTokens("# ours\n\na " + a + " publish:t read:*\r\n  b\t" + b + " admin")
	if err != nil {
		t.Fatal(err)
	}
	if p := tokens.Principal("secret a"); p == nil || p.Name != "a" || len(p.Scopes) != 2 {
		t.Errorf("secret a is %+v", p)
	}
	for _, secret := range []string{"", "a", a, "secret A"} {
		if p := tokens.Principal(secret); p != nil {
			t.Errorf("secret %q is %+v; want nobody", secret, p)
		}
	}
	for text, part := range map[string]string{
		"a":                                     "line 1: \"a\": want a name",
		"a " + a:                                "at least one scope",
		"#\n__a " + a + " admin":                "line 2",
		"a " + a[1:] + " admin":                 "64 hexadecimal",
		"a x admin":                             "64 hexadecimal",
		"a " + a + " admin all":                 `"all"`,
		"a " + a + " admin\na " + b + " admin":  "twice",
		"a " + a + " admin\nb " + a + " read:*": "twice",
		"a " + strings.Repeat("zz", 32) + " admin": "hexadecimal",
	} {
		if _, err := ParseTokens(text); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), part) {
			t.Errorf("ParseTokens(%q): %v; want %q", text, err, part)
		}
	}
}

// FuzzParseTokens: whatever is taken gives nobody more than its scopes.
func FuzzParseTokens(f *testing.F) {
	f.Add("a " + HashToken("s") + " publish:t read:*")
	f.Add("# x\n\nb " + HashToken("s") + " admin")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := ParseTokens(text)
		if err != nil {
			if !errors.Is(err, ErrInvalidConfig) {
				t.Fatalf("ParseTokens(%q): %v", text, err)
			}
			return
		}
		for _, p := range tokens.byHash {
			for _, s := range p.Scopes {
				if again, err := ParseScope(s.String()); err != nil || again != s {
					t.Errorf("scope %v is read as %v, %v", s, again, err)
				}
			}
		}
	})
}
