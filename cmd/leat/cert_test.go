package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/transport/certs"
)

// ok runs a command line that must succeed silently on stderr, and returns what it printed.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	got := execute(t, t.Context(), args...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("leat %s = %+v; want exit code 0 and nothing on stderr", strings.Join(args, " "), got)
	}
	return got.stdout
}

func TestCertificatesOfADeployment(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	dir := filepath.Join(t.TempDir(), "deep", "certs")
	at := func(name string) string { return filepath.Join(dir, name) }
	ca := document(t, ok(t, "cert", "ca", "--out", dir, "--name", "Test CA", "--valid", "2y", "-o", "json"))
	if keys, want := keysOf(ca), "cert key not_after"; keys != want || ca["cert"] != at("ca.crt") {
		t.Fatalf("cert ca = %v; want keys %s and %s", ca, want, at("ca.crt"))
	}
	ok(t, "cert", "issue", "--ca", dir, "--out", dir, "--host", "n1.example,10.0.0.1", "--node", "1",
		"--cluster", "prod")
	ok(t, "cert", "issue", "--ca", dir, "--out", dir, "--client", "--name", "Ada L.", "--valid", "30d")
	for _, name := range []string{"ca.key", "node-1.key", "Ada_L..key"} {
		info, err := os.Stat(at(name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
	if _, err := certs.ServerTLS(at("node-1.crt"), at("node-1.key"), at("ca.crt")); err != nil {
		t.Errorf("ServerTLS of a node: %v", err)
	}
	if _, err := certs.ClientTLS(at("ca.crt"), at("Ada_L..crt"), at("Ada_L..key")); err != nil {
		t.Errorf("ClientTLS of a client: %v", err)
	}

	shown := document(t, ok(t, "cert", "show", at("node-1.crt"), "-o", "json"))
	one := shown["certificates"].([]any)[0].(map[string]any)
	if got, want := keysOf(one), "ca development fingerprint hosts issuer not_after not_before subject "+
		"uris usages valid"; got != want {
		t.Errorf("keys = %s; want %s", got, want)
	}
	table := ok(t, "cert", "show", at("node-1.crt"))
	for _, want := range []string{"CN=node-1", "CN=Test CA", "n1.example, 10.0.0.1", "leat://prod/1",
		"server, client", one["fingerprint"].(string)} {
		if !strings.Contains(table, want) {
			t.Errorf("cert show lacks %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "development") {
		t.Errorf("taken for the development CA's:\n%s", table)
	}
	if table := ok(t, "cert", "show", at("Ada_L..crt")); !strings.Contains(table, "usages       client\n") {
		t.Errorf("usages of a client:\n%s", table)
	}
}

func TestCertOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	ok(t, "cert", "ca", "--out", dir)
	before, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	got := execute(t, t.Context(), "cert", "ca", "--out", dir)
	if got.code != exitUsage || !strings.Contains(got.stderr, "nothing is overwritten") {
		t.Errorf("cert ca again = %+v; want exit code 2 and the reason", got)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "ca.key")); string(after) != string(before) {
		t.Error("the key was replaced")
	}
}

func TestCertNeverShowsAKey(t *testing.T) {
	dir := t.TempDir()
	ok(t, "cert", "ca", "--out", dir)
	got := execute(t, t.Context(), "cert", "show", filepath.Join(dir, "ca.key"))
	if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, "PRIVATE KEY") {
		t.Errorf("cert show of a key = %+v; want exit code 2 and what it is", got)
	}
}

func TestDevelopmentCAIsShown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "leat")
	t.Setenv("LEAT_CONFIG_DIR", dir)
	if got := execute(t, t.Context(), "cert", "show"); got.code != exitUsage ||
		!strings.Contains(got.stderr, dir) {
		t.Errorf("cert show without a CA = %+v; want exit code 2 and the path", got)
	}
	ca, err := certs.Development("")
	if err != nil {
		t.Fatal(err)
	}
	table := ok(t, "cert", "show")
	for _, want := range []string{filepath.Join(dir, "ca.crt"), certs.Fingerprint(ca.Certificate()),
		"CN=Leat development CA", "this is the development CA"} {
		if !strings.Contains(table, want) {
			t.Errorf("cert show lacks %q:\n%s", want, table)
		}
	}
	issued, err := ca.Issue(certs.Spec{CommonName: "x\x1b[2J", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.crt")
	if err := os.WriteFile(file, issued.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	table = ok(t, "cert", "show", file)
	if !strings.Contains(table, "issued by the development CA") || strings.Contains(table, "\x1b") {
		t.Errorf("cert show of an issued certificate:\n%q", table)
	}
}

func TestLifetime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"12h": 12 * time.Hour, "90d": 90 * 24 * time.Hour, "10y": 10 * year, "1h30m": 90 * time.Minute,
		"365d": year, "100y": 100 * year,
	} {
		var l, again lifetime
		if err := l.Set(text); err != nil || time.Duration(l) != want {
			t.Errorf("%q = %v, %v; want %v", text, time.Duration(l), err, want)
			continue
		}
		if err := again.Set(l.String()); err != nil || again != l {
			t.Errorf("%q is spelled %q, which reads as %v, %v", text, l.String(), time.Duration(again), err)
		}
	}
	for _, text := range []string{"", "d", "0d", "-1d", "1.5y", "101y", "36501d", "99999999y", "10", "0s", "-5h",
		"x"} {
		var l lifetime
		if err := l.Set(text); err == nil {
			t.Errorf("%q = %v; want an error", text, time.Duration(l))
		}
	}
}
