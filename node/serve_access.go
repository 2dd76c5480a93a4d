package node

import (
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// tokenEvery is how often the connections are looked at for those whose token was taken back.
const tokenEvery = 2 * time.Second

// principal is who shows a secret: everyone where the door has no tokens, nil if no token has it.
func (s *Server) principal(secret string) *core.Principal {
	switch {
	case s.tokens == nil:
		return core.Everyone
	case secret == "":
		return nil
	}
	return s.tokens(secret)
}

// identify takes the secret that a client shows in HELLO.
func (c *session) identify(secret string) error {
	p := c.server.principal(secret)
	if p == nil {
		found := "no token has the secret that the client shows"
		if secret == "" {
			found = "the client shows no token"
		}
		return core.Errorf(core.CodeUnauthenticated, "connect", "%s", found)
	}
	c.secret, c.scopes = secret, p.Scopes
	return nil
}

// may asks whether the client may do that with a topic. A token that was taken back a moment ago may nothing.
func (c *session) may(action core.Action, topic string) error {
	return core.Authorize(c.server.principal(c.secret), action, topic)
}

// watchTokens ends the connections of those whose token was taken back, which is final for them, or has other
// scopes, until the server closes. With other scopes they connect again, and their streams are looked at
// again.
func (s *Server) watchTokens() {
	timer := s.node.clock.NewTimer(tokenEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-s.ctx.Done():
			return
		}
		for _, c := range s.greetedSessions() {
			switch p := s.principal(c.secret); {
			case p == nil:
				c.end(core.Errorf(core.CodeUnauthenticated, "serve", "the token was taken back"))
			case !slices.Equal(p.Scopes, c.scopes):
				c.end(core.Errorf(core.CodeUnavailable, "serve", "the scopes of the token have changed"))
			}
		}
		timer.Reset(tokenEvery)
	}
}

// allowed is handle for a request that needs a scope for the topic that its body names.
func allowed[Q, A any](
	c *session, payload []byte, action core.Action, topic func(*Q) string,
	f func(context.Context, *Q) (A, error),
) (any, error) {
	return handle(c.ctx, payload, func(ctx context.Context, q *Q) (answer A, err error) {
		if err := c.may(action, topic(q)); err != nil {
			return answer, err
		}
		return f(ctx, q)
	})
}

// answerTopics tells of the topics that the client may know.
func (c *session) answerTopics(ctx context.Context, q *wire.TopicsRequest) (wire.TopicsAnswer, error) {
	p := c.server.principal(c.secret)
	if q.Name != "" {
		if err := core.Authorize(p, core.ActionDescribe, q.Name); err != nil {
			return wire.TopicsAnswer{}, err
		}
	}
	answer, err := c.node.answerTopics(ctx, q)
	answer.Topics = slices.DeleteFunc(answer.Topics, func(t wire.TopicBody) bool {
		return core.Authorize(p, core.ActionDescribe, t.Name) != nil
	})
	return answer, err
}
