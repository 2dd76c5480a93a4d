package push

import (
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// testRecord is whole; its secrets are those of the example of Standard Webhooks and of zeros.
func testRecord(t *testing.T, name string) record {
	t.Helper()
	c := Config{Name: name, Topic: "orders", URL: "https://example.com/hook"}
	r := record{Created: 5, Config: c.withDefaults()}
	for i, text := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		s, err := makeSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		s.until = int64(i * 77)
		r.Secrets = append(r.Secrets, s)
	}
	return r
}

// golden is the file of one subscription. It never changes: files of today are read by later versions.
const golden = `leat-push 1 d39f121b
{
 "subscriptions": [
  {
   "name": "shop",
   "topic": "orders",
   "group": "push.shop",
   "url": "https://example.com/hook",
   "concurrency": 10,
   "timeout_ns": 10000000000,
   "max_attempts": 16,
   "retry_min_ns": 1000000000,
   "retry_max_ns": 3600000000000,
   "created_ns": 5,
   "secrets": [
    {
     "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    },
    {
     "secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     "until_ns": 77
    }
   ]
  }
 ]
}
`

func TestStoredForm(t *testing.T) {
	all := []record{testRecord(t, "shop")}
	text, err := encode(all)
	if err != nil || string(text) != golden {
		t.Errorf("encode = %s, %v; want %s", text, err, golden)
	}
	got, err := decode([]byte(golden))
	if err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("decode = %+v, %v; want %+v", got, err, all)
	}
	other := testRecord(t, "b")
	other.Paused, other.Reason = true, "gone"
	other.Config.Ordered, other.Config.Rate, other.Config.MaxAttempts = true, 5, -1
	all = append(all, other)
	text, err = encode(all)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(text); err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("decode = %+v, %v; want %+v", got, err, all)
	}
}

// sealed is a file whose checksum fits.
func sealed(text string) []byte {
	return fmt.Appendf(nil, "%s%08x\n%s", fileMark, crc32.Checksum([]byte(text), castagnoli), text)
}

func TestStoredFormRefuses(t *testing.T) {
	_, body, _ := strings.Cut(golden, "\n")
	change := func(old, new string) []byte {
		if !strings.Contains(body, old) {
			t.Fatalf("there is no %s", old)
		}
		return sealed(strings.Replace(body, old, new, 1))
	}
	for name, tt := range map[string]struct {
		file []byte
		code core.Code
	}{
		"nothing":              {nil, core.CodeCorrupt},
		"another file":         {[]byte("{}"), core.CodeCorrupt},
		"a newer version":      {[]byte("leat-push 2 00000000\n{}"), core.CodeVersionTooNew},
		"a flipped bit":        {[]byte(strings.Replace(golden, "shop", "shoq", 1)), core.CodeCorrupt},
		"half of it":           {[]byte(golden[:len(golden)/2]), core.CodeCorrupt},
		"something behind":     {sealed(body + "{}"), core.CodeCorrupt},
		"no JSON":              {sealed("{"), core.CodeCorrupt},
		"an unknown field":     {change(`"topic"`, `"tropic"`), core.CodeCorrupt},
		"no topic":             {change(`"orders"`, `""`), core.CodeCorrupt},
		"an internal topic":    {change(`"orders"`, `"__meta"`), core.CodeCorrupt},
		"no URL":               {change(`"https://example.com/hook"`, `"example.com"`), core.CodeCorrupt},
		"no concurrency":       {change(`: 10,`, `: 0,`), core.CodeCorrupt},
		"no attempts":          {change(`: 16,`, `: 0,`), core.CodeCorrupt},
		"no secret":            {change(`"whsec_M`, `"whsec`), core.CodeCorrupt},
		"a secret without end": {change(`"until_ns": 77`, `"until_ns": 0`), core.CodeCorrupt},
		"a reason to run":      {change(`"created_ns"`, `"reason": "x", "created_ns"`), core.CodeCorrupt},
	} {
		if all, err := decode(tt.file); core.CodeOf(err) != tt.code {
			t.Errorf("%s: %v, %v; want %v", name, all, err, tt.code)
		}
	}
	twice, err := encode([]record{testRecord(t, "a"), testRecord(t, "a")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(twice); core.CodeOf(err) != core.CodeCorrupt {
		t.Errorf("one name twice: %v", err)
	}
}

// FuzzStoredForm: decode never panics, and takes nothing that encode would spell otherwise.
func FuzzStoredForm(f *testing.F) {
	_, body, _ := strings.Cut(golden, "\n")
	f.Add(body)
	f.Add(`{"subscriptions":[]}`)
	f.Add(`{"subscriptions":[{"name":"a"}]}`)
	f.Add(strings.Replace(body, "https://example.com/hook", "http://[::1]:5/?q", 1))
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = decode([]byte(text))
		all, err := decode(sealed(text))
		if err != nil {
			return
		}
		again, err := encode(all)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(again); err != nil || !reflect.DeepEqual(got, all) {
			t.Errorf("%+v was read as %+v, %v", all, got, err)
		}
	})
}

func TestConfigChecks(t *testing.T) {
	long := strings.Repeat("a", 240)
	for name, change := range map[string]func(*Config){
		"name":             func(c *Config) { c.Name = "a/b" },
		"no name":          func(c *Config) { c.Name = "" },
		"topic":            func(c *Config) { c.Topic = "__groups" },
		"group":            func(c *Config) { c.Group = "a b" },
		"dead letters":     func(c *Config) { c.Topic = long },
		"concurrency":      func(c *Config) { c.Concurrency = 257 },
		"rate":             func(c *Config) { c.Rate = -1 },
		"timeout":          func(c *Config) { c.Timeout = time.Hour },
		"a short timeout":  func(c *Config) { c.Timeout = time.Millisecond },
		"pauses":           func(c *Config) { c.RetryMin, c.RetryMax = time.Minute, time.Second },
		"a long pause":     func(c *Config) { c.RetryMax = 48 * time.Hour },
		"a negative pause": func(c *Config) { c.RetryMin = -1 },
		"attempts":         func(c *Config) { c.MaxAttempts = 1 << 20 },
		"no URL":           func(c *Config) { c.URL = "" },
		"a path":           func(c *Config) { c.URL = "/hook" },
		"scheme":           func(c *Config) { c.URL = "ftp://example.com" },
		"no host":          func(c *Config) { c.URL = "https:///hook" },
		"opaque":           func(c *Config) { c.URL = "https:example.com" },
		"a user":           func(c *Config) { c.URL = "https://me:hush@example.com/" },
		"a fragment":       func(c *Config) { c.URL = "https://example.com/#x" },
		"no fragment":      func(c *Config) { c.URL = "https://example.com/#" },
		"port 0":           func(c *Config) { c.URL = "https://example.com:0/" },
		"no port":          func(c *Config) { c.URL = "https://example.com:/" },
		"port":             func(c *Config) { c.URL = "https://example.com:70000/" },
		"a space":          func(c *Config) { c.URL = "https://example.com/a b" },
		"a line":           func(c *Config) { c.URL = "https://example.com/\r\n" },
		"umlauts":          func(c *Config) { c.URL = "https://example.com/ü" },
		"a long URL":       func(c *Config) { c.URL = "https://example.com/" + strings.Repeat("a", urlBytesMost) },
	} {
		c := Config{Name: "n", Topic: "t", URL: "https://example.com"}
		change(&c)
		c = c.withDefaults()
		err := c.check()
		if code := core.CodeOf(err); err == nil || code != core.CodeInvalidConfig && code != core.CodeInvalidName {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v shows the URL", name, err)
		}
	}
	c := Config{Name: "n", Topic: "t", URL: "HTTPS://EXAMPLE.com:443/hook?a=b%20c"}.withDefaults()
	if err := c.check(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{RetryMax: time.Millisecond}, {RetryMin: 3 * time.Hour}, {}} {
		c.Name, c.Topic, c.URL = "n", "t", "https://example.com"
		c = c.withDefaults()
		if err := c.check(); err != nil {
			t.Errorf("%v to %v: %v", c.RetryMin, c.RetryMax, err)
		}
	}
}

// TestAdmit: what is allowed is decided where it is posted, so it is no matter of the stored form.
func TestAdmit(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com": "", "http://example.com": "not encrypted", "https://127.0.0.1": "loopback",
		"https://[::1]:8443/": "loopback", "https://[fe80::1%25eth0]/": "link-local", "https://1.1.1.1": "",
		"https://169.254.169.254/latest": "metadata", "https://[::ffff:10.0.0.1]/": "private",
	} {
		var o Options
		err := o.admit(&Config{Name: "n", URL: url})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) ||
			!strings.Contains(core.HintFor(err), "--push-allow")) {
			t.Errorf("%s: %v; want %q", url, err, want)
		}
	}
	o := Options{AllowHTTP: true}
	if err := o.admit(&Config{URL: "http://example.com"}); err != nil {
		t.Error(err)
	}
}

// TestRotate: the newest secret is first, those before end when they are told to, and there are few.
func TestRotate(t *testing.T) {
	r := testRecord(t, "a")
	r.Secrets[1].until = 100
	made := func() secret {
		s, err := makeSecret("")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	until := func(r *record) (list []int64) {
		for _, s := range r.Secrets {
			list = append(list, s.until)
		}
		return list
	}
	second := made()
	r.rotate(second, 50, 200)
	if got := until(&r); fmt.Sprint(got) != "[0 200 100]" || r.Secrets[0].text != second.text {
		t.Errorf("after one: %v", got)
	}
	r.rotate(made(), 60, 300)
	if got := until(&r); fmt.Sprint(got) != "[0 300 200]" {
		t.Errorf("after two: %v", got)
	}
	r.rotate(made(), 70, 250)
	if got := until(&r); fmt.Sprint(got) != "[0 250 250]" {
		t.Errorf("a shorter time ends those before earlier: %v", got)
	}
	again := r.Secrets[1]
	again.until = 0
	r.rotate(again, 80, 300)
	if got := until(&r); fmt.Sprint(got) != "[0 300 250]" {
		t.Errorf("one of those before again: %v", got)
	}
	r.rotate(made(), 90, 90)
	if got := until(&r); fmt.Sprint(got) != "[0]" {
		t.Errorf("at once: %v", got)
	}
}

// TestStore: a file is replaced in one step, whatever fails, and damage is told.
func TestStore(t *testing.T) {
	fs := mmaplog.Heap()
	if err := errors.Join(fs.MkdirAll("data"), fs.SyncDir(".")); err != nil { // the folder of a node is there
		t.Fatal(err)
	}
	s := store{fs, "data/push"}
	if all, err := s.load(); err != nil || all != nil {
		t.Fatalf("without a file: %v, %v", all, err)
	}
	one, two := []record{testRecord(t, "a")}, []record{testRecord(t, "a"), testRecord(t, "b")}
	for range 2 {
		if err := s.save(one); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.load(); err != nil || !reflect.DeepEqual(got, one) {
		t.Errorf("load = %v, %v", got, err)
	}
	leftover, err := fs.Open("data/push/subscriptions.tmp", mmaplog.Create)
	if err != nil {
		t.Fatal(err)
	}
	if err := leftover.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.save(two); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load(); err != nil || !reflect.DeepEqual(got, two) {
		t.Errorf("load = %v, %v", got, err)
	}
	for seed := range uint64(20) { // the power fails
		after := store{fs.Crash(seed), "data/push"}
		if got, err := after.load(); err != nil || !reflect.DeepEqual(got, two) {
			t.Errorf("seed %d: load = %v, %v", seed, got, err)
		}
	}
	f, err := fs.Open("data/push/subscriptions", mmaplog.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.load(); core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(core.HintFor(err), "copy") {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), fileBytesMost); err != nil {
		t.Fatal(err)
	}
	if _, err := s.load(); core.CodeOf(err) != core.CodeCorrupt {
		t.Errorf("a huge file: %v", err)
	}
}
