package httpdoor

import (
	"context"
	"net/http"
	"strings"

	"github.com/leatbus/leat/core"
)

// actions says what each operation is to core.Authorize. One that is not here is for administrators.
var actions = map[string]core.Action{
	"publish":   core.ActionPublish,
	"read":      core.ActionRead,
	"events":    core.ActionRead,
	"get-topic": core.ActionDescribe,
	"pull":      core.ActionRead,
	"ack":       core.ActionRead,
	"nack":      core.ActionRead,
	"reject":    core.ActionRead,
	"extend":    core.ActionRead,
}

// forAll are operations that look at each topic themselves.
var forAll = map[string]bool{"list-topics": true, "websocket": true}

// principalKey is where a context has who makes a request; without one everyone may do everything.
type principalKey struct{}

func principalOf(ctx context.Context) *core.Principal {
	p, ok := ctx.Value(principalKey{}).(*core.Principal)
	if !ok {
		return core.Everyone
	}
	return p
}

// authenticate finds who makes a request.
func (d *Door) authenticate(r *http.Request) (*core.Principal, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret == "" || !strings.EqualFold(scheme, "Bearer") {
		return nil, core.Errorf(core.CodeUnauthenticated, "serve HTTP", "the header Authorization is missing, or "+
			"not Bearer and a secret")
	}
	p := d.tokens(secret)
	if p == nil {
		return nil, core.Errorf(core.CodeUnauthenticated, "serve HTTP", "no token has this secret")
	}
	return p, nil
}

// authorize asks whether who makes a request may have an operation on a topic.
func authorize(ctx context.Context, operation, topic string) error {
	if forAll[operation] {
		return nil
	}
	action, known := actions[operation]
	if !known {
		action, topic = core.ActionAdmin, ""
	}
	return core.Authorize(principalOf(ctx), action, topic)
}
