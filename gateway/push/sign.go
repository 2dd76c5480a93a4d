package push

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// secretPrefix begins secrets (Standard Webhooks 1.0.0, "Signature scheme"); base64 of the key follows.
const secretPrefix = "whsec_"

// Keys have so many bytes, as the same section wants.
const (
	keyBytesLeast = 24
	keyBytesMost  = 64
	keyBytesMade  = 32
)

// newSecret makes a secret.
func newSecret() (string, error) {
	var key [keyBytesMade]byte
	if _, err := rand.Read(key[:]); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:]), nil
}

// parseSecret gives the key of a secret. Its errors do not show it.
func parseSecret(text string) ([]byte, error) {
	encoded, ours := strings.CutPrefix(text, secretPrefix)
	if !ours {
		return nil, fmt.Errorf("secret: want %s and base64", secretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, fmt.Errorf("secret: what follows %s is not base64", secretPrefix)
	}
	if len(key) < keyBytesLeast || len(key) > keyBytesMost {
		return nil, fmt.Errorf("secret: a key of %d bytes, want %d to %d", len(key), keyBytesLeast, keyBytesMost)
	}
	return key, nil
}

// signature is one entry of the header webhook-signature.
func signature(key []byte, id string, seconds int64, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(seconds, 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
