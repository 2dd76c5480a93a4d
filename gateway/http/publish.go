package httpdoor

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

// Receipt tells where a published message is.
type Receipt struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset" doc:"Number of the message in its partition; -1 with ack=none"`
	Time      time.Time `json:"time,omitzero" doc:"When the bus appended it, UTC; absent with ack=none"`
	Duplicate bool      `json:"duplicate,omitempty" doc:"The bus had it already; offset is the original"`
	Handle    string    `json:"handle,omitempty" doc:"Names a delayed message, whose offset is -1"`
}

const (
	ndjson       = "application/x-ndjson"
	headerPrefix = "Leat-H-"
)

func (d *Door) publishRoutes() {
	d.handle(&huma.Operation{
		OperationID: "publish", Method: http.MethodPost, Path: "/v1/topics/{topic}/messages",
		Summary: "Publish one message, or a stream of them", Tags: []string{"publish"},
		Description: "The body is the value of one message, whatever its type; Content-Type is kept in the " +
			"header content-type unless it is application/octet-stream or that of a form. With application/x-ndjson " +
			"every line is a message (see Line), the body may go on for ever, and each line is answered by a " +
			"line, in order, while it is read: a receipt, or an error, after which the others go on. The answer " +
			"must be read meanwhile; a client that cannot asks for receipts=summary. Bodies may have " +
			"Content-Encoding gzip. CloudEvents 1.0 are taken in binary mode (ce-specversion and the like), as " +
			"application/cloudevents+json, and in batches, which are answered by a list of LineResult; their " +
			"attributes become headers ce_NAME. A header Leat-H-NAME is a header of the message; its name becomes " +
			"lower case.",
		Parameters: []*huma.Param{topicParam(),
			queryParam("ack", "Level to wait for, if stronger than the topic's",
				&huma.Schema{Type: huma.TypeString, Enum: []any{"none", "page", "disk"}}),
			queryParam("partition", "Partition to publish to, whatever the key",
				&huma.Schema{Type: huma.TypeInteger, Minimum: new(0.0)}),
			queryParam("receipts", "With NDJSON: all, a line for each line; or summary, one document at the end",
				&huma.Schema{Type: huma.TypeString, Enum: []any{"all", "summary"}, Default: "all"}),
			headerParam("Leat-Key", "Key of the message: messages with one key stay in order"),
			headerParam("Leat-Key-Base64", "The key in base64"),
			headerParam("Idempotency-Key", "Id of the message, 1 to 128 bytes: published again within the window of "+
				"its topic it is not stored again, and the receipt is that of the original, with duplicate. It "+
				"goes to a partition by its key, or by the id where it has none"),
			headerParam("Leat-Delay", "How long until the message is delivered, as in 30s"),
			headerParam("Leat-Deliver-At", "When the message is delivered, as in 2026-01-31T12:00:00Z"),
			headerParam("Leat-TTL", "How long the message is delivered, as in 30s or 1h30m; 1ms to 10 years"),
			headerParam("Leat-Tombstone", "true: the message has no value; the body must be empty"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"*/*":           {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
			ndjson:          {Schema: schemaOf[Line](d)},
			cloudEvent:      {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}},
			cloudEventBatch: {Schema: &huma.Schema{Type: huma.TypeArray}},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "Published, at the level asked for", Content: map[string]*huma.MediaType{
				"application/json": {Schema: publishAnswers(d)}, ndjson: {Schema: schemaOf[LineResult](d)}}},
			"202": {Description: "Taken with ack=none, or stored for later", Content: map[string]*huma.MediaType{
				"application/json": {Schema: schemaOf[Receipt](d)}}},
		},
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestTimeout,
			http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusInsufficientStorage},
	}, d.publish)
}

// publishAnswers is what one document may answer a publish with: of a message, of a batch of events, and of
// an NDJSON body as a whole.
func publishAnswers(d *Door) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{schemaOf[Receipt](d),
		{Type: huma.TypeArray, Items: schemaOf[LineResult](d)}, schemaOf[Summary](d)}}
}

// publish takes what is posted to the messages of a topic.
func (d *Door) publish(w http.ResponseWriter, r *http.Request) error {
	query, err := queryOf(r, "ack", "partition", "receipts")
	if err != nil {
		return err
	}
	key := producerKey{topic: r.PathValue("topic")}
	if key.ack, err = ackOf(query); err != nil {
		return err
	}
	partition, err := partitionOf(query)
	if err != nil {
		return err
	}
	key.manual = partition >= 0
	switch mediaType(r.Header) {
	case ndjson, "application/jsonl", "application/x-jsonlines":
		if key.manual {
			return refuse(http.StatusBadRequest, "publish", "partition: with NDJSON each line has its own")
		}
		if err := withoutProperties(r.Header); err != nil {
			return err
		}
		return d.publishLines(w, r, key, query.Get("receipts"))
	}
	if query.Has("receipts") {
		return refuse(http.StatusBadRequest, "publish", "receipts: only with application/x-ndjson")
	}
	if mediaType(r.Header) == cloudEventBatch {
		if key.manual {
			return refuse(http.StatusBadRequest, "publish", "partition: a batch has several keys")
		}
		if err := withoutProperties(r.Header); err != nil {
			return err
		}
		return d.publishEvents(w, r, key)
	}
	body, err := d.readBody(r)
	if err != nil {
		return err
	}
	defer body.release()
	m, err := messageOf(r.Header, body.bytes)
	if err == nil {
		err = propertiesOf(r.Header, &m)
	}
	if err != nil {
		return err
	}
	m.Partition = max(partition, 0)
	receipt, err := d.publishOne(r.Context(), key, m)
	if err != nil {
		return err
	}
	writeReceipt(w, &receipt)
	return nil
}

// publishOne publishes a message through a shared producer. A topic that was made anew is tried once more.
func (d *Door) publishOne(ctx context.Context, key producerKey, m leat.Message) (leat.Receipt, error) {
	byID := goesByID(&m, key.manual)
	key.manual = key.manual || byID
	for again := false; ; again = true {
		s, err := d.producers.take(key)
		if err != nil {
			return leat.Receipt{}, err
		}
		var receipt leat.Receipt
		if byID {
			m.Partition, err = s.spread.partition(ctx, d.bus, key.topic, m.ID)
		}
		if err == nil {
			receipt, err = s.producer.Publish(ctx, m)
		}
		d.producers.give(s, err)
		if err == nil || again || core.CodeOf(err) != core.CodeTopicNotFound {
			return receipt, err
		}
	}
}

// messageOf makes a message of a request: of a CloudEvent, or of whatever else the body is.
func messageOf(header http.Header, body []byte) (leat.Message, error) {
	if header["Ce-Specversion"] == nil && mediaType(header) != cloudEvent {
		return rawMessage(header, body)
	}
	var m leat.Message
	var err error
	if mediaType(header) == cloudEvent {
		if m, err = structuredEvent(body); err != nil {
			return m, badEvent(err)
		}
	} else if m, err = binaryEvent(header, body); err != nil {
		return m, err
	}
	key, err := keyOf(header)
	if key != nil {
		m.Key = key
	}
	if err == nil {
		m.Headers, err = ownHeaders(header, m.Headers)
	}
	return m, err
}

// rawMessage makes a message of a body and the headers of its request.
func rawMessage(header http.Header, body []byte) (leat.Message, error) {
	m := leat.Message{Value: body}
	if m.Value == nil {
		m.Value = []byte{}
	}
	var err error
	if m.Key, err = keyOf(header); err != nil {
		return m, err
	}
	switch tombstone := header.Get("Leat-Tombstone"); {
	case tombstone == "" || tombstone == "false":
	case tombstone != "true":
		return m, refuse(http.StatusBadRequest, "publish", "Leat-Tombstone %s: want true", core.Quote(tombstone))
	case len(body) > 0:
		return m, refuse(http.StatusBadRequest, "publish", "Leat-Tombstone with a body of %d bytes: want none",
			len(body))
	default:
		m.Value = nil
	}
	if kept := keptType(header); kept != "" {
		m.Headers = append(m.Headers, leat.Header{Key: "content-type", Value: []byte(kept)})
	}
	m.Headers, err = ownHeaders(header, m.Headers)
	return m, err
}

// keyOf is the key in the headers of a request, nil if there is none.
func keyOf(header http.Header) ([]byte, error) {
	plain, encoded := header["Leat-Key"], header["Leat-Key-Base64"]
	switch {
	case len(plain)+len(encoded) > 1:
		return nil, refuse(http.StatusBadRequest, "publish", "Leat-Key, Leat-Key-Base64: want one of them, once")
	case len(plain) == 1:
		return []byte(plain[0]), nil
	case len(encoded) == 1:
		key, err := decodeBase64(encoded[0])
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "publish", "Leat-Key-Base64: %v", err)
		}
		return key, nil
	}
	return nil, nil
}

// keptType is the Content-Type where it tells something: not what clients send of themselves.
func keptType(header http.Header) string {
	given := header.Get("Content-Type")
	switch mediaType(header) {
	case "", "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data":
		return ""
	}
	return given
}

// ownHeaders appends the headers of the message, by name and then in order.
func ownHeaders(header http.Header, to []leat.Header) ([]leat.Header, error) {
	var names []string
	for name := range header {
		if strings.HasPrefix(name, headerPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		own := strings.ToLower(name[len(headerPrefix):])
		if own == "" {
			return nil, refuse(http.StatusBadRequest, "publish", "Leat-H-: the name is empty")
		}
		for _, value := range header[name] {
			to = append(to, leat.Header{Key: own, Value: []byte(value)})
		}
	}
	return to, nil
}

// queryOf is the query, whose names must be known and come once.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "read query", "%v", err)
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, refuse(http.StatusBadRequest, "read query", "there is no parameter %s: want %s",
				core.Quote(name), strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return nil, refuse(http.StatusBadRequest, "read query", "%s comes twice", name)
		}
	}
	return query, nil
}

// ackOf is the level that a query asks for.
func ackOf(query url.Values) (leat.Ack, error) {
	if !query.Has("ack") {
		return leat.AckDefault, nil
	}
	level, err := core.ParseAck(query.Get("ack"))
	if err != nil {
		return 0, err
	}
	return level, nil
}

// partitionOf is the partition that a query asks for, -1 if it does not.
func partitionOf(query url.Values) (int32, error) {
	if !query.Has("partition") {
		return -1, nil
	}
	text := query.Get("partition")
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "read query", "partition %s: want a number from 0",
			core.Quote(text))
	}
	return int32(n), nil
}

func writeReceipt(w http.ResponseWriter, receipt *leat.Receipt) {
	header := w.Header()
	header["Content-Type"] = jsonType
	if receipt.Duplicate {
		header["Leat-Duplicate"] = []string{"true"}
	}
	if receipt.Offset < 0 {
		w.WriteHeader(http.StatusAccepted)
	}
	_, _ = w.Write(appendReceipt(make([]byte, 0, 128), receipt)) // who does not read it has gone
}

var jsonType = []string{"application/json"}

func appendReceipt(dst []byte, receipt *leat.Receipt) []byte {
	dst = append(dst, `{"topic":`...)
	dst = messagedoc.AppendText(dst, receipt.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(receipt.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, receipt.Offset, 10)
	if !receipt.Time.IsZero() {
		dst = append(dst, `,"time":"`...)
		dst = receipt.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	if receipt.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	if receipt.Handle != "" {
		dst = messagedoc.AppendText(append(dst, `,"handle":`...), receipt.Handle)
	}
	return append(dst, '}')
}
