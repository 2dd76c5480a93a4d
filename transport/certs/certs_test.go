package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// childVariable makes this test binary print the development CA of the folder it names.
const childVariable = "LEAT_TEST_CERTS_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		a, err := Development(dir)
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString(Fingerprint(a.Certificate()))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func needModes(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("access is not in the mode bits")
	}
}

// folder is an empty folder that passes the check of folders, whatever the umask.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "leat")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\nhint: %s", err, core.HintFor(err))
		}
		return value
	}
}

func wantCode(t *testing.T, what string, err error, code core.Code, parts ...string) {
	t.Helper()
	if err == nil || core.CodeOf(err) != code {
		t.Fatalf("%s: error = %v; want code %v", what, err, code)
	}
	for _, part := range parts {
		if text := err.Error() + "\n" + core.HintFor(err); !strings.Contains(text, part) {
			t.Errorf("%s: error and hint = %s; want %q in it", what, text, part)
		}
	}
}

func TestDevelopmentIsOneForAllGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "leat")
	const n = 32
	found := make([]string, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			if a, err := Development(dir); err != nil {
				found[i] = err.Error()
			} else {
				found[i] = Fingerprint(a.Certificate())
			}
		})
	}
	start.Done()
	done.Wait()
	want := Fingerprint(must(LoadDevelopment(dir))(t).Certificate())
	for i, got := range found {
		if got != want {
			t.Errorf("caller %d got %s; want %s", i, got, want)
		}
	}
	checkFolderModes(t, dir)
}

func checkFolderModes(t *testing.T, dir string) {
	t.Helper()
	var names []string
	for _, entry := range must(os.ReadDir(dir))(t) {
		names = append(names, entry.Name())
	}
	if got, want := strings.Join(names, " "), "ca.crt ca.key ca.lock"; got != want {
		t.Errorf("files = %s; want %s", got, want)
	}
	if runtime.GOOS == "windows" {
		return
	}
	modes := map[string]fs.FileMode{".": 0o700, "ca.key": 0o600, "ca.crt": 0o644, "ca.lock": 0o600}
	for name, want := range modes {
		if got := must(os.Stat(filepath.Join(dir, name)))(t).Mode().Perm(); got != want {
			t.Errorf("mode of %s = %04o; want %04o", name, got, want)
		}
	}
}

func TestDevelopmentIsOneForAllProcesses(t *testing.T) {
	program := must(os.Executable())(t)
	for range 3 {
		dir := filepath.Join(t.TempDir(), "leat")
		const n = 6
		var outputs [n]bytes.Buffer
		var children [n]*exec.Cmd
		for i := range children {
			children[i] = exec.Command(program)
			children[i].Env = append(os.Environ(), childVariable+"="+dir)
			children[i].Stdout, children[i].Stderr = &outputs[i], &outputs[i]
			if err := children[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range children {
			if err := children[i].Wait(); err != nil {
				t.Errorf("child %d: %v: %s", i, err, &outputs[i])
			}
		}
		want := Fingerprint(must(LoadDevelopment(dir))(t).Certificate())
		for i := range outputs {
			if got := outputs[i].String(); got != want {
				t.Errorf("child %d got %s; want %s", i, got, want)
			}
		}
		checkFolderModes(t, dir)
	}
}

func TestLoadDevelopmentCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "leat")
	if _, err := LoadDevelopment(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadDevelopment of nothing = %v; want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadDevelopment left %s behind: %v", dir, err)
	}
}

func TestDevelopmentAfterAnInterruptedCreation(t *testing.T) {
	dir := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := must(Development(dir))(t)
	if got := must(LoadDevelopment(dir))(t); Fingerprint(got.Certificate()) != Fingerprint(a.Certificate()) {
		t.Error("LoadDevelopment found another CA than was created")
	}
}

func TestDevelopmentWaitsForALock(t *testing.T) {
	dir := folder(t)
	file := must(os.Create(filepath.Join(dir, "ca.lock")))(t)
	defer file.Close()
	if taken, err := tryLock(file); !taken {
		t.Fatalf("tryLock of a new file = false, %v", err)
	}
	c := clock.NewManual(time.Now().UnixNano())
	failed := make(chan error)
	go func() {
		_, err := development(dir, c)
		failed <- err
	}()
	c.AwaitTimers(1)
	c.Advance(lockWait)
	wantCode(t, "Development while locked", <-failed, core.CodeLocked, "ca.lock", "LEAT_CONFIG_DIR")

	var a *Authority
	go func() {
		var err error
		a, err = development(dir, c)
		failed <- err
	}()
	c.AwaitTimers(1)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	c.Advance(lockPoll)
	if err := <-failed; err != nil || a == nil {
		t.Errorf("Development after the lock was given back = %v", err)
	}
}

func TestDamagedDevelopmentIsNotReplaced(t *testing.T) {
	other := must(NewAuthority("other", time.Hour))(t)
	tests := []struct {
		name   string
		damage func(t *testing.T, crt, key string)
		code   core.Code
		want   string
	}{
		{"garbage certificate", func(t *testing.T, crt, _ string) { write(t, crt, "garbage") },
			core.CodeInvalidConfig, "remove "},
		{"empty certificate", func(t *testing.T, crt, _ string) { write(t, crt, "") },
			core.CodeInvalidConfig, "remove "},
		{"garbage key", func(t *testing.T, _, key string) { write(t, key, "garbage") },
			core.CodeInvalidConfig, "remove "},
		{"another key", func(t *testing.T, _, key string) { write(t, key, string(other.KeyPEM())) },
			core.CodeInvalidConfig, "private key does not match"},
		{"no key", func(t *testing.T, _, key string) { remove(t, key) }, core.CodeInvalidConfig, "remove "},
		{"open key", func(t *testing.T, _, key string) { chmod(t, key, 0o644) },
			core.CodePermission, "run: chmod 600 "},
		{"open certificate", func(t *testing.T, crt, _ string) { chmod(t, crt, 0o646) },
			core.CodePermission, "run: chmod o-w "},
		{"open folder", func(t *testing.T, crt, _ string) { chmod(t, filepath.Dir(crt), 0o777) },
			core.CodePermission, "run: chmod 700 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.code == core.CodePermission {
				needModes(t)
			}
			dir := folder(t)
			must(Development(dir))(t)
			crt, key, _ := DevelopmentFiles(dir)
			tt.damage(t, crt, key)
			before, _ := os.ReadFile(crt)
			_, err := Development(dir)
			wantCode(t, "Development", err, tt.code, tt.want)
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is fs.ErrNotExist: a damaged CA would be replaced", err)
			}
			if after, _ := os.ReadFile(crt); !bytes.Equal(before, after) {
				t.Error("the certificate was replaced")
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestConfigDir(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", "given")
	if got, err := ConfigDir(); got != "given" || err != nil {
		t.Errorf("ConfigDir() = %q, %v; want what LEAT_CONFIG_DIR says", got, err)
	}
	t.Setenv("LEAT_CONFIG_DIR", "")
	home := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, home)
	}
	got, err := ConfigDir()
	if err != nil || !strings.HasPrefix(got, home) || filepath.Base(got) != "leat" {
		t.Errorf("ConfigDir() = %q, %v; want leat below %s", got, err, home)
	}
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, "")
	}
	_, err = ConfigDir()
	wantCode(t, "ConfigDir without a home", err, core.CodeInvalidConfig, "LEAT_CONFIG_DIR")
	_, err = Development("")
	wantCode(t, "Development without a home", err, core.CodeInvalidConfig, "LEAT_CONFIG_DIR")
}

// shake makes both sides of a TLS handshake meet and exchange one byte. A socket has the buffers that an
// in-memory pipe lacks: both sides may fail, and write about it, at the same moment.
func shake(client, server *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return state, err, err
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() { done <- serveOne(listener, server) }()
	a, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return state, err, err
	}
	conn := tls.Client(a, client)
	if _, clientErr = conn.Write([]byte("?")); clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1)) // TLS 1.3: the server's refusal comes after our handshake
	}
	a.Close()
	return conn.ConnectionState(), clientErr, <-done
}

func serveOne(listener net.Listener, server *tls.Config) error {
	b, err := listener.Accept()
	if err != nil {
		return err
	}
	defer b.Close()
	conn := tls.Server(b, server)
	if _, err = conn.Read(make([]byte, 1)); err != nil {
		return err
	}
	_, err = conn.Write([]byte("!"))
	return err
}

func named(cfg *tls.Config, name string) *tls.Config {
	clone := cfg.Clone()
	clone.ServerName = name
	return clone
}

func TestDevelopmentHandshake(t *testing.T) {
	dir := folder(t)
	client := must(DevelopmentClient(dir))(t) // first: the client creates the CA
	server := must(DevelopmentServer(dir, "127.0.0.9"))(t)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "127.0.0.9"} {
		if _, clientErr, serverErr := shake(named(client, name), server); clientErr != nil || serverErr != nil {
			t.Errorf("handshake with %s: client %v, server %v", name, clientErr, serverErr)
		}
	}
	if _, err, _ := shake(named(client, "example.com"), server); !errors.As(err, new(x509.HostnameError)) {
		t.Errorf("handshake with another name: %v; want a HostnameError", err)
	}
	stranger := must(DevelopmentClient(folder(t)))(t)
	_, err, _ := shake(named(stranger, "localhost"), server)
	if !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("handshake of a client with another CA: %v; want an UnknownAuthorityError", err)
	}
	_, err = DevelopmentServer(dir, "example.com")
	wantCode(t, "DevelopmentServer for a name", err, core.CodeInvalidConfig, "loopback", "example.com")
	_, err = DevelopmentServer(dir, "192.0.2.1")
	wantCode(t, "DevelopmentServer for an address", err, core.CodeInvalidConfig, "loopback")
}

func TestDevelopmentClientNeedsOnlyTheCertificate(t *testing.T) {
	dir := folder(t)
	server := must(DevelopmentServer(dir))(t)
	remove(t, filepath.Join(dir, "ca.key"))
	client := must(DevelopmentClient(dir))(t)
	if _, err, _ := shake(named(client, "localhost"), server); err != nil {
		t.Errorf("handshake: %v", err)
	}
}

func TestDevelopmentServerRenews(t *testing.T) {
	start := time.Now()
	c := clock.NewManual(start.UnixNano())
	server := must(developmentServer(folder(t), nil, c))(t)
	testRenews(t, c, start, func() (*tls.Certificate, error) { return server.GetCertificate(nil) })
}

func TestDevelopmentPeerRenews(t *testing.T) {
	start := time.Now()
	c := clock.NewManual(start.UnixNano())
	peer := must(developmentPeer(folder(t), "leat://prod/2", nil, c))(t)
	testRenews(t, c, start, func() (*tls.Certificate, error) {
		asServer, err := peer.GetCertificate(nil)
		asClient, _ := peer.GetClientCertificate(nil)
		if asServer != asClient {
			t.Error("a node shows two certificates")
		}
		return asServer, err
	})
}

func testRenews(t *testing.T, c *clock.Manual, start time.Time, shown func() (*tls.Certificate, error)) {
	t.Helper()
	leafAt := func(after time.Duration) *x509.Certificate {
		c.SetWall(start.Add(after).UnixNano())
		return must(shown())(t).Leaf
	}
	first := leafAt(0)
	if got := first.NotAfter.Sub(first.NotBefore); got > ValidMax+clockSkew {
		t.Errorf("valid for %v; want at most a year", got)
	}
	if leafAt(100*day) != first {
		t.Error("renewed after 100 days; want the same certificate")
	}
	for years := range 9 {
		at := time.Duration(years)*365*day + 300*day
		if leaf := leafAt(at); leaf == first || start.Add(at).After(leaf.NotAfter.Add(-30*day)) {
			t.Errorf("after %v: valid until %v", at, leaf.NotAfter)
		}
	}
	c.SetWall(start.Add(11 * 365 * day).UnixNano())
	if _, err := shown(); err == nil {
		t.Error("a certificate from a CA that has expired")
	}
}

func TestIsLoopback(t *testing.T) {
	tests := map[string]bool{
		"127.0.0.1:4740": true, "127.255.0.3:1": true, "[::1]:4740": true, "localhost:4740": true,
		"LocalHost:1": true, "localhost": true, "127.0.0.1": true, "::1": true, "[::1]": true,
		"[::ffff:127.0.0.1]:1": true, "[::1%lo]:1": true,
		"0.0.0.0:4740": false, "[::]:4740": false, ":4740": false, "": false, "192.0.2.1:4740": false,
		"example.com:4740": false, "localhost.example.com:1": false, "127.0.0.1.example.com:1": false,
		"127.1:1": false, "128.0.0.1:1": false, "[fe80::1]:1": false, "node1:4740": false, ":": false,
		"0:1": false, "::": false, "[": false,
	}
	for address, want := range tests {
		if got := IsLoopback(address); got != want {
			t.Errorf("IsLoopback(%q) = %v; want %v", address, got, want)
		}
	}
}
