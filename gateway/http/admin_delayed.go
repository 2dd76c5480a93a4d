package httpdoor

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

type adminDelayedQuery struct {
	Topic     string    `query:"topic" maxLength:"249" doc:"Only for this topic"`
	Key       string    `query:"key" doc:"Only with this key; empty: any"`
	KeyBase64 string    `query:"key_base64" doc:"The same, for keys that are not UTF-8"`
	From      time.Time `query:"from" doc:"Only those due then or later"`
	To        time.Time `query:"to" doc:"Only those due before"`
	Most      int       `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Messages on the page"`
	Cursor    string    `query:"cursor" maxLength:"64" doc:"next of the page before"`
}

// AdminHandlePath names a delayed message in a path.
type AdminHandlePath struct {
	Handle string `path:"handle" maxLength:"100" doc:"Handle of the message, as its publish was answered"`
}

type adminReschedule struct {
	AdminHandlePath
	Body struct {
		DeliverAt   *time.Time `json:"deliver_at,omitempty" doc:"When it is delivered; what has passed is now"`
		DelayMillis *int64     `json:"delay_ms,omitempty" minimum:"1" doc:"Or: how long from now, in ms"`
	}
}

func (d *Door) adminDelayedRoutes() {
	list := admin("admin-list-delayed", http.MethodGet, "/delayed", "List delayed messages",
		http.StatusBadRequest, http.StatusNotFound)
	list.Description = "Those that wait, on all nodes, by due time. It changes nothing. A page may end early, " +
		"even empty: go on until next is absent."
	register(d, list, d.adminDelayed)
	const path = "/delayed/{handle}"
	cancel := admin("admin-cancel-delayed", http.MethodDelete, path, "Cancel a delayed message",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict)
	cancel.Description = "Answers when that is durable, and again for one that was cancelled lately. 409: " +
		"it was fired, rescheduled or dropped before."
	register(d, cancel, d.adminCancelDelayed)
	change := admin("admin-reschedule-delayed", http.MethodPatch, path,
		"Make a delayed message due at another time",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict)
	change.Description = "It has a new handle then. 409: it was fired, cancelled, rescheduled or dropped before."
	register(d, change, d.adminReschedule)
}

func (d *Door) adminDelayed(
	ctx context.Context, in *adminDelayedQuery,
) (*struct{ Body admindoc.DelayedPage }, error) {
	const op = "list delayed messages"
	filter := leat.DelayFilter{Topic: in.Topic, From: in.From, To: in.To, Limit: in.Most, After: in.Cursor}
	switch {
	case in.Key != "" && in.KeyBase64 != "":
		return nil, refuse(http.StatusBadRequest, op, "key and key_base64: want one of them")
	case in.Key != "":
		filter.Key = []byte(in.Key)
	case in.KeyBase64 != "":
		var err error
		if filter.Key, err = base64.StdEncoding.DecodeString(in.KeyBase64); err != nil {
			return nil, refuse(http.StatusBadRequest, op, "key_base64: %v", err)
		}
	}
	if in.Cursor != "" {
		if _, err := core.ParseDelayPlace(in.Cursor); err != nil {
			return nil, refuse(http.StatusBadRequest, op, "cursor: found %s, want next of a page",
				core.Quote(in.Cursor))
		}
	}
	page, err := d.bus.Delayed(ctx, filter)
	if err != nil {
		return nil, err
	}
	return &struct{ Body admindoc.DelayedPage }{admindoc.DelayedPageOf(&page)}, nil
}

func (d *Door) adminCancelDelayed(
	ctx context.Context, in *AdminHandlePath,
) (*struct{ Body admindoc.DelayedOutcome }, error) {
	op := "cancel delayed message " + core.Quote(in.Handle)
	if err := checkHandle(op, in.Handle); err != nil {
		return nil, err
	}
	outcome, err := d.bus.CancelDelayed(ctx, in.Handle)
	if err != nil {
		return nil, err
	}
	if outcome != leat.DelayCancelled {
		return nil, tooLate(op, outcome)
	}
	return &struct{ Body admindoc.DelayedOutcome }{admindoc.DelayedOutcome{Handle: in.Handle,
		Outcome: outcome.String()}}, nil
}

func (d *Door) adminReschedule(
	ctx context.Context, in *adminReschedule,
) (*struct{ Body admindoc.Rescheduled }, error) {
	op := "reschedule delayed message " + core.Quote(in.Handle)
	if err := checkHandle(op, in.Handle); err != nil {
		return nil, err
	}
	var at time.Time
	now := time.Unix(0, d.clock.Now())
	switch body := &in.Body; {
	case (body.DeliverAt == nil) == (body.DelayMillis == nil):
		return nil, refuse(http.StatusBadRequest, op, "want deliver_at or delay_ms")
	case body.DeliverAt != nil:
		at = *body.DeliverAt
	case *body.DelayMillis > core.MaxDelay.Milliseconds():
		return nil, refuse(http.StatusBadRequest, op, "delay_ms %d: want at most %d", *body.DelayMillis,
			core.MaxDelay.Milliseconds())
	default:
		at = now.Add(time.Duration(*body.DelayMillis) * time.Millisecond)
	}
	due, err := leat.DueTime(op, at, now)
	if err != nil {
		return nil, err
	}
	handle, outcome, err := d.bus.Reschedule(ctx, in.Handle, time.Unix(0, due))
	if err != nil {
		return nil, err
	}
	if handle == "" {
		return nil, tooLate(op, outcome)
	}
	return &struct{ Body admindoc.Rescheduled }{admindoc.RescheduledOf(in.Handle, handle, outcome, due)}, nil
}

// checkHandle refuses what is no handle of a delayed message.
func checkHandle(op, handle string) error {
	if _, err := core.ParseDelayHandle(handle); err != nil {
		return refuse(http.StatusBadRequest, op, "want the handle that a publish was answered, or a list has")
	}
	return nil
}

// tooLate tells that a delayed message does not wait any more, and what became of it.
func tooLate(op string, outcome leat.DelayOutcome) error {
	if outcome == leat.DelayUnknown {
		return refuse(http.StatusNotFound, op, "no such message waits, nor has one ended lately")
	}
	return refuse(http.StatusConflict, op, "too late: it was %v before", outcome)
}
