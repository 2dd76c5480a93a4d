package httpdoor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Media types of CloudEvents 1.0.2, HTTP Protocol Binding §3.
const (
	cloudEvent      = "application/cloudevents+json"
	cloudEventBatch = "application/cloudevents-batch+json"
)

// batchMost is how many events a batch may have: what one PublishBatch may have, too.
const batchMost = core.MaxBatchRecords

// attributes of a CloudEvent, by name; all are text.
type attributes map[string]string

// message makes a message of an event. Attributes become headers as in the Kafka Protocol Binding §3.2: ce_
// and the name, but for datacontenttype, which is content-type. The extension partitionkey is the key.
func (a attributes) message(value []byte) (leat.Message, error) {
	if a["specversion"] != "1.0" {
		return leat.Message{}, fmt.Errorf("specversion %s: want 1.0", core.Quote(a["specversion"]))
	}
	for _, name := range []string{"id", "source", "type"} {
		if a[name] == "" {
			return leat.Message{}, fmt.Errorf("%s is missing or empty", name)
		}
	}
	m := leat.Message{Value: value}
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !attributeName(name) {
			return m, fmt.Errorf("attribute %s: want a name of a-z and 0-9", core.Quote(name))
		}
		key := "ce_" + name
		if name == "datacontenttype" {
			key = "content-type"
		}
		m.Headers = append(m.Headers, leat.Header{Key: key, Value: []byte(a[name])})
	}
	if key, ok := a["partitionkey"]; ok {
		m.Key = []byte(key)
	}
	return m, nil
}

// attributeName takes what CloudEvents §3.1 does.
func attributeName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// binaryEvent reads an event in binary mode: attributes are headers, percent-encoded, and the body is the
// data.
func binaryEvent(header http.Header, body []byte) (leat.Message, error) {
	a := attributes{}
	for name, values := range header {
		own, found := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !found {
			continue
		}
		if len(values) > 1 {
			return leat.Message{}, badEvent(fmt.Errorf("%s comes twice", name))
		}
		text, err := url.PathUnescape(values[0])
		if err != nil {
			return leat.Message{}, badEvent(fmt.Errorf("%s: %w", name, err))
		}
		a[own] = text
	}
	if given := header.Get("Content-Type"); given != "" {
		a["datacontenttype"] = given
	}
	if body == nil {
		body = []byte{}
	}
	m, err := a.message(body)
	if err != nil {
		return m, badEvent(err)
	}
	return m, nil
}

// structuredEvent reads an event in JSON format.
func structuredEvent(text []byte) (leat.Message, error) {
	a := attributes{}
	var seen fields
	var data, encoded []byte
	s := scanner{text: text}
	err := s.object(func(name, raw []byte) error {
		if err := seen.add(string(name)); err != nil {
			return err
		}
		switch string(name) {
		case "data":
			data = raw
			return nil
		case "data_base64":
			var err error
			encoded, err = base64Of(raw)
			return err
		}
		return a.add(string(name), raw)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && data != nil && encoded != nil {
		err = fmt.Errorf("data and data_base64: want one of them")
	}
	if err == nil && data != nil {
		encoded, err = a.data(data)
	}
	if encoded == nil {
		encoded = []byte{}
	}
	var m leat.Message
	if err == nil {
		m, err = a.message(encoded)
	}
	return m, err
}

// add takes an attribute: a string, a number or a boolean; null is none (JSON Event Format §2.2).
func (a attributes) add(name string, raw []byte) error {
	switch {
	case raw[0] == '"':
		text, err := textOf(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		a[name] = string(text)
	case string(raw) == "null":
	case raw[0] == '{' || raw[0] == '[' || !json.Valid(raw):
		return fmt.Errorf("attribute %s is %s: want a string, a number or a boolean", core.Quote(name),
			core.Quote(string(raw)))
	default:
		a[name] = string(raw)
	}
	return nil
}

// data gives the data of an event: JSON as it stands, or the text of a string where the type is another (JSON
// Event Format §3.1).
func (a attributes) data(raw []byte) ([]byte, error) {
	kind, given := a["datacontenttype"]
	if given && raw[0] == '"' && !isJSON(kind) {
		return textOf(raw)
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("data is not JSON")
	}
	return raw, nil
}

func isJSON(kind string) bool {
	kind = mediaType(http.Header{"Content-Type": {kind}})
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

func badEvent(err error) error { return refuse(http.StatusBadRequest, "read CloudEvent", "%v", err) }

// rawEvents reads a batch of events. Nothing is published where one is not whole.
func rawEvents(text []byte) ([]leat.Message, error) {
	var all []leat.Message
	s := scanner{text: text}
	err := s.list(func(raw []byte) error {
		if len(all) == batchMost {
			return fmt.Errorf("more than %d events", batchMost)
		}
		m, err := structuredEvent(raw)
		if err != nil {
			return fmt.Errorf("event %d: %w", len(all)+1, err)
		}
		all = append(all, m)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, badEvent(err)
	}
	return all, nil
}

// publishEvents publishes a batch, each event for itself, and answers with a list. The status is that of the
// first failure.
func (d *Door) publishEvents(w http.ResponseWriter, r *http.Request, key producerKey) error {
	body, err := d.readBody(r)
	if err != nil {
		return err
	}
	defer body.release()
	all, err := rawEvents(body.bytes)
	if err != nil {
		return err
	}
	p, err := d.producers.openProducer(key)
	if err != nil {
		return err
	}
	results := make([]LineResult, len(all))
	answered := make(chan struct{}, len(all))
	for i := range all {
		p.PublishAsync(all[i], func(receipt leat.Receipt, err error) {
			results[i] = resultOf(int64(i+1), receipt, err)
			answered <- struct{}{}
		})
	}
	_ = p.Close() // it waits for answers, and fails what has none
	for range all {
		<-answered
	}
	status := http.StatusOK
	for i := range results {
		if problem := results[i].Error; problem != nil {
			status = problem.Status
			break
		}
	}
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(results) // who does not read it has gone
	return nil
}

func resultOf(number int64, receipt leat.Receipt, err error) LineResult {
	if err != nil {
		return LineResult{Line: number, Error: problemOf(err)}
	}
	return LineResult{Line: number, Partition: &receipt.Partition, Offset: &receipt.Offset,
		Duplicate: receipt.Duplicate}
}
