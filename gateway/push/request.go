package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat"
)

// messageID is what a message is called in webhook-id: the same at each attempt, whoever makes it. It has no
// full stop, which is what signatures are put together with.
func messageID(m *leat.Message) string {
	place := strconv.AppendInt(nil, int64(m.Partition), 10)
	place = strconv.AppendInt(append(place, ' '), m.Offset, 10)
	place = strconv.AppendInt(append(place, ' '), m.Time.UnixNano(), 10)
	if m.ID != "" {
		place = append([]byte("id "), m.ID...)
	}
	sum := sha256.Sum256(append([]byte(m.Topic+" "), place...))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// newRequest makes the POST of a message: CloudEvents HTTP Protocol Binding §3.1, and Standard Webhooks.
func newRequest(ctx context.Context, url string, keys []secret, m *leat.Message, now int64,
) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Value))
	if err != nil {
		return nil, err
	}
	id, seconds := messageID(m), now/int64(time.Second)
	var signatures []string
	for _, s := range keys {
		if s.until == 0 || s.until > now {
			signatures = append(signatures, signature(s.key, id, seconds, m.Value))
		}
	}
	h := request.Header
	h["User-Agent"] = []string{"Leat"}
	h["Webhook-Id"] = []string{id}
	h["Webhook-Timestamp"] = []string{strconv.FormatInt(seconds, 10)}
	h["Webhook-Signature"] = []string{strings.Join(signatures, " ")}
	describe(h, m)
	addEvent(h, m, id)
	return request, nil
}

// describe tells what the door tells of a message, by the names that publishing has.
func describe(h http.Header, m *leat.Message) {
	h["Leat-Topic"] = []string{m.Topic}
	h["Leat-Partition"] = []string{strconv.Itoa(int(m.Partition))}
	h["Leat-Offset"] = []string{strconv.FormatInt(m.Offset, 10)}
	h["Leat-Attempt"] = []string{strconv.Itoa(int(m.Attempt))}
	if m.Value == nil {
		h["Leat-Tombstone"] = []string{"true"}
	}
	switch {
	case m.Key == nil:
	case plain(string(m.Key)):
		h["Leat-Key"] = []string{string(m.Key)}
	default:
		h["Leat-Key-Base64"] = []string{base64.StdEncoding.EncodeToString(m.Key)}
	}
}

// addEvent adds the attributes of the event that a message is: those it was published with, or else some of
// our own. Its other headers go as they came, as Leat-H-NAME, or Leat-HB-NAME in base64 where the value is no
// text of a header. One whose name is none of HTTP's is left out.
func addEvent(h http.Header, m *leat.Message, id string) {
	event := isEvent(m.Headers)
	for _, header := range m.Headers {
		value := string(header.Value)
		attribute, isAttribute := strings.CutPrefix(header.Key, "ce_")
		switch {
		case strings.EqualFold(header.Key, "content-type") && plain(value):
			h["Content-Type"] = []string{value}
		case event && isAttribute && attributeName(attribute):
			h[http.CanonicalHeaderKey("ce-"+attribute)] = []string{percentEncoded(value)}
		case !token(header.Key):
		case plain(value):
			h.Add("Leat-H-"+header.Key, value)
		default:
			h.Add("Leat-HB-"+header.Key, base64.StdEncoding.EncodeToString(header.Value))
		}
	}
	if event {
		return
	}
	h["Ce-Specversion"] = []string{"1.0"}
	h["Ce-Id"] = []string{id}
	h["Ce-Source"] = []string{"/v1/topics/" + m.Topic}
	h["Ce-Type"] = []string{"leat.message"}
	h["Ce-Time"] = []string{m.Time.UTC().Format(time.RFC3339Nano)}
	if len(m.Key) > 0 && utf8.Valid(m.Key) {
		h["Ce-Partitionkey"] = []string{percentEncoded(string(m.Key))}
	}
}

// isEvent reports whether headers are those of a CloudEvent in Kafka's binding, which is how the door stores
// one: each of the required attributes is there, and none twice.
func isEvent(headers []leat.Header) bool {
	seen := map[string]int{}
	for _, h := range headers {
		if strings.HasPrefix(h.Key, "ce_") {
			seen[h.Key]++
			if seen[h.Key] > 1 || len(h.Value) == 0 || !utf8.Valid(h.Value) {
				return false
			}
			if h.Key == "ce_specversion" && string(h.Value) != "1.0" {
				return false
			}
		}
	}
	return seen["ce_specversion"] == 1 && seen["ce_id"] == 1 && seen["ce_source"] == 1 && seen["ce_type"] == 1
}

// attributeName takes what CloudEvents §3.1 does.
func attributeName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// percentEncoded is a value as CloudEvents HTTP Protocol Binding §3.1.3.2 has it.
func percentEncoded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// plain reports whether a text can be the value of a header as it is: ASCII that can be seen, with spaces
// within (RFC 9110 §5.5).
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return text == strings.TrimSpace(text)
}

// token reports whether a name can be part of the name of a header (RFC 9110 §5.6.2).
func token(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
