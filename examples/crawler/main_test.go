package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// expect gives the pages of a web that are at most depth links from its start, each once. It walks the web as
// it is described, not as it is served.
func expect(hosts, pages, depth int) map[string]int {
	want := map[string]int{}
	for number := range hosts {
		name := fmt.Sprintf("http://host-%d.test", number)
		above := min(number, 1) // links from the start to the front page
		for page := range pages {
			links, at, lost := above, page, false
			for ; at > 0; at = (at - 1) / fanOut {
				lost = lost || number == hosts-1 && at == pageFailing // neither it nor what is below
				links++
			}
			switch {
			case links > depth || lost:
			case page == 0:
				want[name+"/"] = 1
			default:
				want[fmt.Sprintf("%s/page/%d", name, page)] = 1
			}
			if page == pageLong && links < depth {
				want[name+"/long?session="+strings.Repeat("0123456789", 20)] = 1
			}
		}
	}
	return want
}

func crawl(t *testing.T, o options) (*findings, *web, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	web := newWeb(o.hosts, o.pages)
	t.Cleanup(web.close)
	web.retryAfter = 0
	var out bytes.Buffer
	f, err := run(ctx, o, web, &out)
	if err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	return f, web, out.String()
}

// TestCrawl: every page is fetched once, by whichever crawler, and hosts are treated well.
func TestCrawl(t *testing.T) {
	o := options{crawlers: 4, hosts: 4, pages: 25, depth: 10, rest: time.Millisecond}
	f, web, out := crawl(t, o)
	if want := expect(o.hosts, o.pages, o.depth); !maps.Equal(f.pages, want) {
		t.Errorf("found %v\nwant %v", slices.Sorted(maps.Keys(f.pages)), slices.Sorted(maps.Keys(want)))
	}
	failing := fmt.Sprintf("http://host-%d.test/page/%d", o.hosts-1, pageFailing)
	for link, times := range web.visited {
		want := 1
		if link == failing || strings.HasSuffix(link, fmt.Sprintf("/page/%d", pageBusy)) {
			want = 3
		}
		if times != want {
			t.Errorf("%s was asked for %d times, want %d", link, times, want)
		}
	}
	if f.broken != o.hosts || f.busy != 2*o.hosts || f.known == 0 || f.tooDeep != 0 || f.stale != 0 {
		t.Errorf("findings %v, want %d broken, and each host busy twice", f, o.hosts)
	}
	for _, want := range []string{"given up after 3 attempts: " + failing + ": 500 ", "one page at a time",
		fmt.Sprintf(": %d pages, 0 of them twice;", len(f.pages))} {
		if !strings.Contains(out, want) {
			t.Errorf("output %q, want %q in it", out, want)
		}
	}
}

// TestDepth: links that lead too deep are not followed.
func TestDepth(t *testing.T) {
	o := options{crawlers: 2, hosts: 2, pages: 25, depth: 2}
	f, web, _ := crawl(t, o)
	if want := expect(o.hosts, o.pages, o.depth); !maps.Equal(f.pages, want) {
		t.Errorf("found %v\nwant %v", slices.Sorted(maps.Keys(f.pages)), slices.Sorted(maps.Keys(want)))
	}
	if f.tooDeep == 0 || web.visited["http://host-0.test/page/13"] > 0 {
		t.Errorf("%d links were too deep, visited %v", f.tooDeep, web.visited)
	}
	if start, _, _ := crawl(t, options{crawlers: 1, hosts: 1, pages: 5}); len(start.pages) != 1 {
		t.Errorf("at depth 0: %v, want the front page only", start.pages)
	}
}

// TestWatched: the web notices a crawler that does not behave.
func TestWatched(t *testing.T) {
	ask := func(w *web, name string) *http.Request {
		request := httptest.NewRequest(http.MethodGet, "http://"+name+"/", nil)
		w.enter(request)
		return request
	}
	hasty := newWeb(1, 1)
	defer hasty.close()
	ask(hasty, "a.test")
	hasty.leave("a.test")
	ask(hasty, "a.test")
	if _, err := hasty.watched(time.Hour); err == nil {
		t.Error("a host that has no rest is not noticed")
	}
	crowd := newWeb(1, 1)
	defer crowd.close()
	ask(crowd, "a.test")
	ask(crowd, "b.test")
	if _, err := crowd.watched(time.Hour); err != nil {
		t.Errorf("two hosts at a time: %v", err)
	}
	ask(crowd, "b.test")
	if _, err := crowd.watched(0); err == nil {
		t.Error("two requests at a time are not noticed")
	}
}

func TestLinks(t *testing.T) {
	base, err := url.Parse("http://a.test/dir/page")
	if err != nil {
		t.Fatal(err)
	}
	page := `<a href="x">1<A HREF='/y?q=1&amp;r=2#z'>2</A><a href=//b.test>3<a href="x#top">1 again` +
		`<a name=n>no link<a href="mailto:x@a.test">mail<a href="http://%zz/">broken<b href=bold>` +
		`<!-- <a href=comment> --><a href="../up`
	want := []string{"http://a.test/dir/x", "http://a.test/y?q=1&r=2", "http://b.test"}
	if got, err := linksOf(base, strings.NewReader(page)); err != nil || !slices.Equal(got, want) {
		t.Errorf("links %q, %v; want %q", got, err, want)
	}
	broken := errors.New("broken")
	if _, err := linksOf(base, &failingReader{broken}); !errors.Is(err, broken) {
		t.Errorf("a page that breaks off: %v", err)
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestIDs(t *testing.T) {
	short, long := "http://a.test/", "http://a.test/"+strings.Repeat("x", idMax)
	if idOf(short) != short || len(idOf(long)) > idMax || idOf(long) == idOf(long+"y") {
		t.Errorf("ids %q, %q, %q", idOf(short), idOf(long), idOf(long+"y"))
	}
}

func TestOptions(t *testing.T) {
	good := options{crawlers: 1, hosts: 1, pages: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []options{
		{0, 1, 1, 0, 0}, {1, 0, 1, 0, 0}, {1, 1, 0, 0, 0}, {1, 1, 1, -1, 0}, {1, 1, 1, 0, -1},
	} {
		if wrong.check() == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
}
