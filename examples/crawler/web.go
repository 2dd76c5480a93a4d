package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// web is a small one: hosts of a tree of pages each, that a server of this process stands for. It watches
// whether crawlers behave.
type web struct {
	server     *httptest.Server
	hosts      int
	pages      int // of each host
	retryAfter int // seconds that a busy host asks for

	mu      sync.Mutex
	visited map[string]int   // requests by URL
	state   map[string]*host // by name
	crowded int              // requests to a host that was busy with another one
	restMin time.Duration    // shortest time that a host had between two requests
}

type host struct {
	busy bool
	idle time.Time // since when it has nothing to do
}

// Pages that are special, in each host.
const (
	fanOut      = 3 // links to pages below each page
	pageBusy    = 4 // is not there yet the first two times
	pageFailing = 7 // of the last host only, fails always
	pageLong    = 2 // has a link that is too long for an id, to a page without links
)

func newWeb(hosts, pages int) *web {
	w := &web{hosts: hosts, pages: pages, retryAfter: 1, visited: map[string]int{}, state: map[string]*host{},
		restMin: time.Hour}
	w.server = httptest.NewServer(w)
	return w
}

func (w *web) close() { w.server.Close() }

// client gives one that finds the hosts of this web.
func (w *web) client() *http.Client {
	address := w.server.Listener.Addr().String()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}
}

func (w *web) name(number int) string { return fmt.Sprintf("host-%d.test", number) }

// url is the address of a page; page 0 is the front page.
func (w *web) url(number, page int) string {
	if page == 0 {
		return "http://" + w.name(number) + "/"
	}
	return fmt.Sprintf("http://%s/page/%d", w.name(number), page)
}

func (w *web) start() string { return w.url(0, 0) }

// longURL is the address of a page that ends with a session, as some hosts have it.
func (w *web) longURL(number int) string {
	return "http://" + w.name(number) + "/long?session=" + strings.Repeat("0123456789", 20)
}

// ServeHTTP answers one request, and watches.
func (w *web) ServeHTTP(out http.ResponseWriter, request *http.Request) {
	times := w.enter(request)
	answer := httptest.NewRecorder()
	w.answer(answer, request, times)
	w.leave(request.Host) // before the crawler can know of it
	maps.Copy(out.Header(), answer.Header())
	out.WriteHeader(answer.Code)
	_, _ = out.Write(answer.Body.Bytes()) // who has gone needs no answer
}

// answer answers a request, of which there were so many of its URL.
func (w *web) answer(out http.ResponseWriter, request *http.Request, times int) {
	var number, page int
	if _, err := fmt.Sscanf(request.Host, "host-%d.test", &number); err != nil || number >= w.hosts {
		http.NotFound(out, request)
		return
	}
	switch n, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/page/")); {
	case request.URL.Path == "/long":
		fmt.Fprint(out, "<p>a long way")
		return
	case request.URL.Path == "/":
	case err != nil || n < 1 || n >= w.pages:
		http.NotFound(out, request)
		return
	default:
		page = n
	}
	switch {
	case page == pageBusy && times <= 2:
		out.Header().Set("Retry-After", strconv.Itoa(w.retryAfter))
		http.Error(out, "busy", http.StatusServiceUnavailable)
	case page == pageFailing && number == w.hosts-1:
		http.Error(out, "out of order", http.StatusInternalServerError)
	default:
		w.write(out, number, page)
	}
}

// write writes a page. The links that are no news are to what a front page has: so the first to be found is
// also the shortest way to a page, whatever host is faster.
func (w *web) write(out http.ResponseWriter, number, page int) {
	out.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(out, "<!doctype html><title>%d</title><a name=top></a><a href='#top'>top</a>", page)
	fmt.Fprint(out, "<a href='/'>home</a> <a href='mailto:someone@host.test'>mail</a>")
	for child := fanOut*page + 1; child <= fanOut*page+fanOut && child < w.pages; child++ {
		fmt.Fprintf(out, "<p><a href='/page/%d'>down</a> <a href='/page/%d#text'>again</a>", child, child)
	}
	if page == pageLong {
		fmt.Fprintf(out, "<a href='%s'>long</a> <a href='/gone'>gone</a>", w.longURL(number))
	}
	for other := range w.hosts {
		if number == 0 && page == 0 || other == number+1 {
			fmt.Fprintf(out, "<a href='%s'>elsewhere</a>", w.url(other, 0))
		}
	}
}

// enter notes a request and returns how many there were of its URL.
func (w *web) enter(request *http.Request) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.state[request.Host]
	if h == nil {
		h = &host{}
		w.state[request.Host] = h
	} else if h.busy {
		w.crowded++
	} else {
		w.restMin = min(w.restMin, time.Since(h.idle))
	}
	h.busy = true
	link := "http://" + request.Host + request.URL.RequestURI()
	w.visited[link]++
	return w.visited[link]
}

func (w *web) leave(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state[name].busy = false
	w.state[name].idle = time.Now()
}

// watched tells how crawlers behaved, and is an error if a host was asked for two pages at a time, or too
// soon.
func (w *web) watched(rest time.Duration) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crowded > 0 || w.restMin < rest {
		return "", fmt.Errorf("hosts were asked for two pages at a time %d times, and had %v to rest, "+
			"want 0 and %v", w.crowded, w.restMin, rest)
	}
	return fmt.Sprintf("hosts were asked for one page at a time, and had at least %v to rest",
		w.restMin.Round(100*time.Microsecond)), nil
}
