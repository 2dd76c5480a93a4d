package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat/core"
)

// Bounds of the file of subscriptions.
const (
	subscriptionsMost = 1000
	secretsMost       = 3    // of a subscription: the newest, and those on their way out
	reasonBytesMost   = 1024 // why a subscription is paused
	fileBytesMost     = 8 << 20
)

// record is a subscription as it is stored.
type record struct {
	Config  Config
	Created int64 // ns since 1970
	Paused  bool
	Reason  string   // why it is paused, if nobody asked for it
	Secrets []secret // the newest first; at least one
}

// secret is what a receiver knows a POST by.
type secret struct {
	text  string // whsec_…
	key   []byte
	until int64 // ns since 1970, after which it signs no more; 0 for the newest
}

// String keeps secrets out of logs and errors.
func (secret) String() string { return "secret" }

// GoString keeps them out of %#v.
func (secret) GoString() string { return "secret" }

// makeSecret reads a secret, or makes one of nothing.
func makeSecret(text string) (secret, error) {
	if text == "" {
		var err error
		if text, err = newSecret(); err != nil {
			return secret{}, err
		}
	}
	key, err := parseSecret(text)
	return secret{text: text, key: key}, err
}

// rotate makes s the newest secret; the others sign until then.
func (r *record) rotate(s secret, now, until int64) {
	kept := []secret{s}
	for _, old := range r.Secrets {
		if old.until == 0 || old.until > until {
			old.until = until
		}
		if old.until > now && len(kept) < secretsMost && old.text != s.text {
			kept = append(kept, old)
		}
	}
	r.Secrets = kept
}

// storedFile, storedRecord and storedSecret spell the file. Names and units never change.
type storedFile struct {
	Subscriptions []storedRecord `json:"subscriptions"`
}

type storedRecord struct {
	Name        string         `json:"name"`
	Topic       string         `json:"topic"`
	Group       string         `json:"group"`
	URL         string         `json:"url"`
	Ordered     bool           `json:"ordered,omitempty"`
	Concurrency int            `json:"concurrency"`
	Rate        int64          `json:"rate,omitempty"`
	TimeoutNs   int64          `json:"timeout_ns"`
	MaxAttempts int32          `json:"max_attempts"`
	RetryMinNs  int64          `json:"retry_min_ns"`
	RetryMaxNs  int64          `json:"retry_max_ns"`
	CreatedNs   int64          `json:"created_ns"`
	Paused      bool           `json:"paused,omitempty"`
	Reason      string         `json:"reason,omitempty"`
	Secrets     []storedSecret `json:"secrets"`
}

type storedSecret struct {
	Secret  string `json:"secret"`
	UntilNs int64  `json:"until_ns,omitempty"`
}

func (r *record) stored() storedRecord {
	c := &r.Config
	s := storedRecord{Name: c.Name, Topic: c.Topic, Group: c.Group, URL: c.URL, Ordered: c.Ordered,
		Concurrency: c.Concurrency, Rate: c.Rate, TimeoutNs: int64(c.Timeout), MaxAttempts: c.MaxAttempts,
		RetryMinNs: int64(c.RetryMin), RetryMaxNs: int64(c.RetryMax), CreatedNs: r.Created, Paused: r.Paused,
		Reason: r.Reason}
	for _, one := range r.Secrets {
		s.Secrets = append(s.Secrets, storedSecret{one.text, one.until})
	}
	return s
}

// record checks what was stored.
func (s *storedRecord) record() (record, error) {
	r := record{Created: s.CreatedNs, Paused: s.Paused, Reason: s.Reason,
		Config: Config{Name: s.Name, Topic: s.Topic, Group: s.Group, URL: s.URL, Ordered: s.Ordered,
			Concurrency: s.Concurrency, Rate: s.Rate, Timeout: time.Duration(s.TimeoutNs),
			MaxAttempts: s.MaxAttempts, RetryMin: time.Duration(s.RetryMinNs),
			RetryMax: time.Duration(s.RetryMaxNs)}}
	if err := r.Config.check(); err != nil {
		return r, err
	}
	switch {
	case s.MaxAttempts == 0 || s.RetryMaxNs == 0:
		return r, errors.New("max_attempts or retry_max_ns is 0")
	case s.Reason != "" && !s.Paused || len(s.Reason) > reasonBytesMost || !utf8.ValidString(s.Reason):
		return r, errors.New("reason: want it short, and of a subscription that is paused")
	case len(s.Secrets) == 0 || len(s.Secrets) > secretsMost:
		return r, fmt.Errorf("%d secrets: want 1 to %d", len(s.Secrets), secretsMost)
	}
	for i, one := range s.Secrets {
		key, err := parseSecret(one.Secret)
		if err != nil {
			return r, err
		}
		if (one.UntilNs == 0) != (i == 0) || one.UntilNs < 0 {
			return r, errors.New("until_ns: want it with every secret but the first")
		}
		r.Secrets = append(r.Secrets, secret{one.Secret, key, one.UntilNs})
	}
	return r, nil
}

// fileMark begins the file, with its version; the CRC-32C of what follows the line is behind it.
const fileMark = "leat-push 1 "

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode spells subscriptions.
func encode(all []record) ([]byte, error) {
	file := storedFile{Subscriptions: []storedRecord{}}
	for i := range all {
		file.Subscriptions = append(file.Subscriptions, all[i].stored())
	}
	text, err := json.MarshalIndent(&file, "", " ")
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	head := fmt.Sprintf("%s%08x\n", fileMark, crc32.Checksum(text, castagnoli))
	return append([]byte(head), text...), nil
}

// decode reads what encode has written. Properties: it takes nothing else than whole subscriptions of
// different names, and encode of them reads as the same.
func decode(file []byte) ([]record, error) {
	head, text, _ := bytes.Cut(file, []byte("\n"))
	sum, ours := strings.CutPrefix(string(head), fileMark)
	switch {
	case strings.HasPrefix(string(head), "leat-push ") && !ours:
		return nil, core.Errorf(core.CodeVersionTooNew, "read push subscriptions", "the file begins with %s, "+
			"want %s", core.Quote(string(head)), core.Quote(fileMark))
	case !ours:
		return nil, damaged("it begins with %s, want %s", core.Quote(string(head)), core.Quote(fileMark))
	case sum != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)):
		return nil, damaged("the checksum %s does not fit", core.Quote(sum))
	}
	var stored storedFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&stored); err != nil {
		return nil, damaged("%v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, damaged("something follows")
	}
	if len(stored.Subscriptions) > subscriptionsMost {
		return nil, damaged("%d subscriptions, at most %d", len(stored.Subscriptions), subscriptionsMost)
	}
	names := map[string]bool{}
	all := make([]record, 0, len(stored.Subscriptions))
	for i := range stored.Subscriptions {
		r, err := stored.Subscriptions[i].record()
		if err == nil && names[r.Config.Name] {
			err = errors.New("its name comes twice")
		}
		if err != nil {
			return nil, damaged("subscription %d: %w", i+1, err)
		}
		names[r.Config.Name] = true
		all = append(all, r)
	}
	return all, nil
}

func damaged(format string, args ...any) error {
	e := core.Errorf(core.CodeCorrupt, "read push subscriptions", format, args...)
	e.Hint = "restore the file push/subscriptions of the data folder from a copy, or remove it and make the " +
		"subscriptions anew: their groups keep the progress"
	return e
}
