package observe

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// pages are what can be asked for.
var pages = []string{"/livez", "/metrics", "/readyz"}

// Handler answers GET and HEAD of /livez, /readyz and /metrics, and tells everybody else what there is. With
// loopback it answers only requests for a host of this machine: a page in a browser that was made to believe
// that its own host is here (DNS rebinding) reads nothing.
func (o *Observer) Handler(loopback bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback && !isLocal(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "the host of the request is not this machine",
				"ask for 127.0.0.1 or localhost")
			return
		}
		page, found := map[string]http.HandlerFunc{
			"/livez": serveLive, "/readyz": o.serveReady, "/metrics": o.serveMetrics,
		}[r.URL.Path]
		switch {
		case !found:
			refuse(w, http.StatusNotFound, "there is no such page", "there are "+strings.Join(pages, ", "))
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "nothing can be changed here", "ask with GET")
		default:
			page(w, r)
		}
	})
}

// isLocal reports whether a Host header names this machine.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

func serveLive(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]bool{"live": true})
}

// readiness is the answer of /readyz; the keys are stable.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why not
}

func (o *Observer) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWait)
	defer cancel()
	v := o.look(ctx)
	if len(v.reasons) > 0 {
		answer(w, http.StatusServiceUnavailable, readiness{Reasons: v.reasons})
		return
	}
	answer(w, http.StatusOK, readiness{Ready: true})
}

// refusal is the answer to what cannot be had; the keys are stable.
type refusal struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

func refuse(w http.ResponseWriter, status int, text, hint string) {
	answer(w, status, refusal{text, hint})
}

// answer writes JSON. The server drops the body where the request was HEAD.
func answer(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // the client may be gone, and nobody else wants to know
}
