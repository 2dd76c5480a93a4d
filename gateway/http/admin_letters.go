package httpdoor

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

// letterReads bounds the reads of the bus for one page; each gives up to 1 MiB of letters.
const letterReads = 16

// LetterFilter chooses dead letters. What is absent chooses all.
type LetterFilter struct {
	Key       string    `query:"key" json:"key,omitempty" doc:"Only with this key; empty: any"`
	KeyBase64 string    `query:"key_base64" json:"key_base64,omitempty" doc:"The same, for keys not in UTF-8"`
	Code      string    `query:"code" json:"code,omitempty" doc:"Why it died" example:"LEAT-7002"`
	Since     time.Time `query:"since" json:"since,omitzero" doc:"Only that died then or later"`
	Until     time.Time `query:"until" json:"until,omitzero" doc:"Only that died before"`
	Headers   []string  `query:"header,explode" json:"headers,omitempty" maxItems:"64" doc:"Each as name=value"`
}

// LetterPage is a page of them.
type LetterPage struct {
	Letters []admindoc.Letter `json:"letters" doc:"Partition after partition, each by offset"`
	Next    string            `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
}

type adminLettersQuery struct {
	AdminPage
	Q string `query:"q" maxLength:"249" doc:"Only topics of dead letters whose name has this in it"`
}

type adminLettersAnswer struct {
	Body struct {
		Topics []admindoc.LetterTopic `json:"topics" doc:"By name"`
		Next   string                 `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
	}
}

type adminLetterQuery struct {
	AdminTopicPath
	LetterFilter
	Only    int32  `query:"partition" default:"-1" minimum:"-1" maximum:"16383" doc:"Only this one; -1: all"`
	Most    int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Letters on the page"`
	Preview int    `query:"preview" default:"4096" minimum:"0" doc:"Bytes of a key and a value; 0: all"`
	Cursor  string `query:"cursor" maxLength:"40" doc:"next of the page before"`
}

// filter reads what was asked for.
func (f *LetterFilter) filter(op string) (q leat.DeadLetterFilter, err error) {
	wrong := func(format string, args ...any) (leat.DeadLetterFilter, error) {
		return q, refuse(http.StatusBadRequest, op, format, args...)
	}
	switch {
	case f.Key != "" && f.KeyBase64 != "":
		return wrong("key and key_base64: want one of them")
	case f.Key != "":
		q.Key = []byte(f.Key)
	case f.KeyBase64 != "":
		if q.Key, err = base64.StdEncoding.DecodeString(f.KeyBase64); err != nil {
			return wrong("key_base64: %v", err)
		}
	}
	if q.Code, err = parseCode(f.Code); err != nil {
		return wrong("code: %v", err)
	}
	for _, text := range f.Headers {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return wrong("header %s: want name=value", core.Quote(text))
		}
		q.Headers = append(q.Headers, leat.Header{Key: name, Value: []byte(value)})
	}
	for _, side := range []struct {
		from time.Time
		to   *int64
	}{{f.Since, &q.Since}, {f.Until, &q.Until}} {
		if side.from.IsZero() {
			continue
		}
		if year := side.from.UTC().Year(); year < 1970 || year >= 2262 {
			return wrong("time %v: want a year from 1970 to 2261", side.from)
		}
		*side.to = side.from.UnixNano()
	}
	return q, nil
}

// parseCode reads the number of an error, with or without LEAT-, or its name; 0 for nothing.
func parseCode(text string) (core.Code, error) {
	if text == "" {
		return 0, nil
	}
	for _, row := range core.Codes {
		if strings.EqualFold(row.Name, text) {
			return row.Code, nil
		}
	}
	digits, _ := strings.CutPrefix(strings.ToUpper(text), "LEAT-")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("found %s, want the number or name of an error, as in 7002 or REJECTED",
			core.Quote(text))
	}
	return core.Code(n), nil
}

func (d *Door) adminLetterRoutes() {
	const path = "/dead-letters/{topic}"
	register(d, admin("admin-list-dead-letters", http.MethodGet, "/dead-letters",
		"List the topics of dead letters"), d.adminLetters)
	register(d, admin("admin-get-dead-letters", http.MethodGet, path, "Count dead letters",
		http.StatusNotFound), d.adminLetterTopic)
	show := admin("admin-show-dead-letters", http.MethodGet, path+"/messages", "Look at pending dead letters",
		http.StatusBadRequest, http.StatusNotFound)
	show.Description = "It changes nothing. A page may end early, even empty: go on until next is absent."
	register(d, show, d.adminLetterPage)
	redrive := admin("admin-redrive", http.MethodPost, path+"/redrive", "Publish dead letters again",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict)
	redrive.DefaultStatus = http.StatusAccepted
	redrive.Description = "Starts a job on the letters that are there now. An empty object takes all."
	register(d, redrive, d.adminRedrive)
	drop := admin("admin-drop-dead-letters", http.MethodPost, path+"/drop", "Give dead letters up for good",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict)
	drop.DefaultStatus, drop.Description = http.StatusAccepted, redrive.Description
	register(d, drop, d.adminDrop)
}

func (d *Door) adminLetters(ctx context.Context, in *adminLettersQuery) (*adminLettersAnswer, error) {
	all, err := d.bus.DeadLetters(ctx)
	if err != nil {
		return nil, err
	}
	page, next := cut(&in.AdminPage, all, func(t *leat.DeadLetterTopic) string { return t.Name },
		func(t *leat.DeadLetterTopic) bool { return strings.Contains(t.Name, in.Q) })
	out := &adminLettersAnswer{}
	out.Body.Topics, out.Body.Next = make([]admindoc.LetterTopic, len(page)), next
	for i := range page {
		out.Body.Topics[i] = admindoc.LetterTopicOf(&page[i])
	}
	return out, nil
}

// letters describes one topic of dead letters.
func (d *Door) letters(ctx context.Context, op, name string) (*leat.DeadLetterTopic, error) {
	all, err := d.bus.DeadLetters(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, core.Errorf(core.CodeTopicNotFound, op, "there are no dead letters of that name")
}

func (d *Door) adminLetterTopic(
	ctx context.Context, in *AdminTopicPath,
) (*struct{ Body admindoc.LetterTopic }, error) {
	t, err := d.letters(ctx, "count dead letters "+core.Quote(in.Topic), in.Topic)
	if err != nil {
		return nil, err
	}
	return &struct{ Body admindoc.LetterTopic }{admindoc.LetterTopicOf(t)}, nil
}

func (d *Door) adminLetterPage(
	ctx context.Context, in *adminLetterQuery,
) (*struct{ Body LetterPage }, error) {
	op := "show dead letters " + core.Quote(in.Topic)
	filter, err := in.filter(op)
	if err != nil {
		return nil, err
	}
	after, err := parsePoint(in.Cursor)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, op, "%v", err)
	}
	info, err := d.letters(ctx, op, in.Topic)
	if err != nil {
		return nil, err
	}
	at, last := leat.PeekPoint{}, int32(len(info.Partitions)-1)
	if in.Only >= 0 {
		at.Partition, last = in.Only, in.Only
	}
	if after != nil {
		if after.Partition < at.Partition || after.Partition > last {
			return nil, refuse(http.StatusBadRequest, op, "cursor: partition %d is not asked for", after.Partition)
		}
		at = leat.PeekPoint{Partition: after.Partition, Offset: max(after.Offset, 0)}
	}
	out := &struct{ Body LetterPage }{LetterPage{Letters: []admindoc.Letter{}}}
	for reads := 0; at.Partition <= last; reads++ {
		left := in.Most - len(out.Body.Letters)
		if left == 0 || reads == letterReads {
			out.Body.Next = fmt.Sprintf("%d:%d", at.Partition, at.Offset)
			break
		}
		page, err := d.bus.ReadDeadLetters(ctx, in.Topic, leat.DeadLetterRead{Partition: at.Partition,
			From: at.Offset, Limit: left, Filter: filter})
		if err != nil {
			return nil, err
		}
		for i := range page.Letters {
			out.Body.Letters = append(out.Body.Letters, admindoc.LetterOf(&page.Letters[i], in.Preview))
		}
		if at.Offset = page.Next; page.Next >= page.End {
			at = leat.PeekPoint{Partition: at.Partition + 1}
		}
	}
	return out, nil
}

type adminRedrive struct {
	AdminTopicPath
	DryRun bool `query:"dry_run" doc:"The job only counts"`
	Body   struct {
		LetterFilter
		To    string  `json:"to,omitempty" maxLength:"249" doc:"Topic that gets them, by key; absent: their own"`
		Rate  float64 `json:"rate,omitempty" minimum:"0" doc:"Letters a second; 0: as fast as it goes"`
		Limit int64   `json:"limit,omitempty" minimum:"0" doc:"Letters at most; 0: all"`
	}
}

type adminDrop struct {
	AdminTopicPath
	DryRun bool `query:"dry_run" doc:"The job only counts"`
	Body   struct {
		LetterFilter
		Limit int64 `json:"limit,omitempty" minimum:"0" doc:"Letters at most; 0: all"`
	}
}

type adminStarted struct {
	Location string `header:"Location" doc:"Path of the job"`
	Body     Job
}

// begin starts a job if there are letters of that name.
func (d *Door) begin(ctx context.Context, doc Job, work jobWork) (*adminStarted, error) {
	op := doc.Kind + " dead letters " + core.Quote(doc.Topic)
	if _, err := d.letters(ctx, op, doc.Topic); err != nil {
		return nil, err
	}
	j, err := d.startJob(doc, work)
	if err != nil {
		return nil, err
	}
	now := j.now()
	return &adminStarted{Location: "/api/v1/jobs/" + now.ID, Body: now}, nil
}

func (d *Door) adminRedrive(ctx context.Context, in *adminRedrive) (*adminStarted, error) {
	op := "redrive dead letters " + core.Quote(in.Topic)
	filter, err := in.Body.filter(op)
	if err != nil {
		return nil, err
	}
	if in.Body.To == in.Topic {
		return nil, refuse(http.StatusBadRequest, op, "to: is the topic of the letters itself")
	}
	if in.Body.To != "" {
		if _, err := d.bus.Topic(ctx, in.Body.To); err != nil {
			return nil, err
		}
	}
	cfg := leat.RedriveConfig{Filter: filter, To: in.Body.To, Rate: in.Body.Rate, Limit: in.Body.Limit,
		DryRun: in.DryRun}
	return d.begin(ctx, Job{Kind: "redrive", Topic: in.Topic, To: cfg.To, DryRun: cfg.DryRun},
		func(ctx context.Context, tell func(leat.DeadLetterProgress)) (leat.DeadLetterProgress, error) {
			cfg.Progress = tell
			return d.bus.Redrive(ctx, in.Topic, cfg)
		})
}

func (d *Door) adminDrop(ctx context.Context, in *adminDrop) (*adminStarted, error) {
	filter, err := in.Body.filter("drop dead letters " + core.Quote(in.Topic))
	if err != nil {
		return nil, err
	}
	cfg := leat.DropConfig{Filter: filter, Limit: in.Body.Limit, DryRun: in.DryRun}
	return d.begin(ctx, Job{Kind: "drop", Topic: in.Topic, DryRun: cfg.DryRun},
		func(ctx context.Context, tell func(leat.DeadLetterProgress)) (leat.DeadLetterProgress, error) {
			cfg.Progress = tell
			return d.bus.DropDeadLetters(ctx, in.Topic, cfg)
		})
}
