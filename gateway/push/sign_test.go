package push

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verify is what a receiver does, written from the text of Standard Webhooks 1.0.0 and nothing else.
func verify(secret string, h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.Atoi(stamp)
	if id == "" || strings.Contains(id, ".") || err != nil {
		return fmt.Errorf("webhook-id %q, webhook-timestamp %q", id, stamp)
	}
	if away := now.Sub(time.Unix(int64(seconds), 0)).Abs(); away > 5*time.Minute {
		return fmt.Errorf("the timestamp is %v away", away)
	}
	return verifySignature(secret, id, stamp, h.Get("webhook-signature"), body)
}

func verifySignature(secret, id, stamp, signatures string, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	for one := range strings.FieldsSeq(signatures) {
		version, encoded, _ := strings.Cut(one, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("no signature of %q fits", signatures)
}

// TestSignatureOfTheSpecification: the example that comes with the specification and its libraries.
func TestSignatureOfTheSpecification(t *testing.T) {
	const (
		secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		id     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
		body   = `{"test": 2432232314}`
		want   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	key, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := signature(key, id, 1614265330, []byte(body))
	if got != want {
		t.Errorf("signature = %s; want %s", got, want)
	}
	if err := verifySignature(secret, id, "1614265330", "v1a,x v1,AAAA "+got, []byte(body)); err != nil {
		t.Error(err)
	}
	if verifySignature(secret, id, "1614265331", got, []byte(body)) == nil {
		t.Error("the signature fits another time")
	}
}

func TestSecrets(t *testing.T) {
	encode := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, good := range map[string]bool{
		"whsec_" + encode(24): true, "whsec_" + encode(64): true, "whsec_" + encode(23): false,
		"whsec_" + encode(65): false, encode(24): false, "whsec_": false, "": false, "whsec_%%%": false,
		"whsec_" + encode(24) + "\n":             false,
		"whsec_" + encode(24) + "=":              false,
		"WHSEC_" + encode(24):                    false,
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": true,
	} {
		_, err := parseSecret(text)
		if (err == nil) != good {
			t.Errorf("parseSecret(%q) = %v; want it taken: %v", text, err, good)
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), text[6:20]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	seen := map[string]bool{}
	for range 10 {
		text, err := newSecret()
		key, bad := parseSecret(text)
		if err != nil || bad != nil || len(key) != keyBytesMade || seen[text] {
			t.Errorf("newSecret = %q, %v, %v", text, err, bad)
		}
		seen[text] = true
	}
	s, err := makeSecret("")
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", s, []secret{s}, s, s); strings.Contains(shown, s.text[6:]) {
		t.Errorf("a secret shows itself: %s", shown)
	}
}
