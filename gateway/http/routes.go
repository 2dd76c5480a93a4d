package httpdoor

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leatbus/leat/core"
)

// routes registers everything that the door serves.
func (d *Door) routes() {
	d.topicRoutes()
	d.publishRoutes()
	d.readRoutes()
	d.eventRoutes()
	d.pushRoutes()
	d.pullRoutes()
	d.socketRoutes()
	d.adminRoutes()
	d.mux.HandleFunc("/", d.unknown)
}

// newAPI makes the document that routes are entered in. It is served at /openapi.json.
func newAPI(mux *http.ServeMux, version string) huma.API {
	cfg := huma.DefaultConfig("Leat", version)
	cfg.Info.Description = "Publish to the topics of a Leat bus and read them. Topics are never created by " +
		"using them. Every failed answer is application/problem+json with a stable code."
	cfg.DocsPath, cfg.SchemasPath = "", ""
	cfg.CreateHooks = nil // no $schema in answers
	cfg.Tags = []*huma.Tag{
		{Name: "topics", Description: "What topics there are."},
		{Name: "publish", Description: "Messages into a topic."},
		{Name: "read", Description: "Messages out of a topic."},
		{Name: "queue", Description: "Messages shared out among workers, who say what became of each."},
	}
	return humago.New(mux, cfg)
}

// register adds a route whose handler takes and gives structs, as huma has it. Errors of the handler become
// problems. op needs OperationID, Method, Path, Summary and Tags.
func register[I, O any](d *Door, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	op.Errors = slices.Concat(op.Errors, commonStatuses)
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		if err := authorize(ctx.Context(), op.OperationID, ctx.Param("topic")); err != nil {
			r, w := humago.Unwrap(ctx)
			d.fail(w, r, err)
			return
		}
		next(ctx)
	})
	huma.Register(d.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				d.logger.Error("a request has failed", "operation", op.OperationID, "code", p.Code, "error", err)
			}
			return nil, p
		}
		return out, nil
	})
}

// commonStatuses may be the answer of any route.
var commonStatuses = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
	http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusServiceUnavailable}

// handle adds a route that reads and writes bodies itself. What handler returns becomes a problem; it must
// not have written then. op must describe everything but failures, whose statuses op.Errors has.
func (d *Door) handle(op *huma.Operation, handler func(http.ResponseWriter, *http.Request) error) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	for _, status := range slices.Concat(op.Errors, commonStatuses) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problemType: {Schema: schemaOf[Problem](d)}},
		}
	}
	d.api.OpenAPI().AddOperation(op)
	d.mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		err := authorize(r.Context(), op.OperationID, r.PathValue("topic"))
		if err == nil {
			err = handler(w, r)
		}
		if err != nil {
			d.fail(w, r, err)
		}
	})
}

// schemaOf is the schema of a type in the document.
func schemaOf[T any](d *Door) *huma.Schema {
	t := reflect.TypeFor[T]()
	return d.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

// unknown answers what no route takes: the methods that there are, or that there is nothing.
func (d *Door) unknown(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, method := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} {
		probe := *r
		probe.Method = method
		if _, pattern := d.mux.Handler(&probe); pattern != "/" {
			methods = append(methods, method)
		}
	}
	op := r.Method + " " + core.Quote(r.URL.Path)
	if len(methods) == 0 {
		d.fail(w, r, refuse(http.StatusNotFound, op, "there is no such path"))
		return
	}
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	d.fail(w, r, refuse(http.StatusMethodNotAllowed, op, "want %s", allow))
}

// topicParam, and the like, describe parameters of routes that huma does not parse.
func topicParam() *huma.Param {
	return &huma.Param{Name: "topic", In: "path", Required: true, Description: "Name of the topic",
		Schema: &huma.Schema{Type: huma.TypeString, Pattern: `^[a-zA-Z0-9._-]{1,249}$`}}
}

func queryParam(name, about string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: about, Schema: schema}
}

func headerParam(name, about string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: about, Schema: &huma.Schema{Type: huma.TypeString}}
}
