package httpdoor

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat/core"
)

// adminTag is the tag of the routes below /api/v1.
const adminTag = "admin"

// pageMost bounds every page below /api/v1.
const pageMost = 1000

// adminRoutes registers what operators and consoles use. It changes nothing that bus users rely on; whoever
// reaches it, with the scope admin where there are tokens, may do everything that leat topic and leat group
// do.
func (d *Door) adminRoutes() {
	api := d.api.OpenAPI()
	api.Tags = append(api.Tags, &huma.Tag{Name: adminTag,
		Description: "Topics, groups, dead letters and nodes, and what is in them. Lists are paged by a " +
			"cursor; what destroys something has a dry_run."})
	d.adminClusterRoutes()
	d.adminTopicRoutes()
	d.adminMessageRoutes()
	d.adminGroupRoutes()
	d.adminLetterRoutes()
	d.adminJobRoutes()
	d.adminDelayedRoutes()
}

// admin is the operation of a route below /api/v1.
func admin(id, method, path, summary string, errors ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary,
		Tags: []string{adminTag}, Errors: errors}
}

// AdminPage is what every list takes.
type AdminPage struct {
	Cursor string `query:"cursor" maxLength:"600" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Entries on the page"`
}

// AdminTopicPath names a topic in a path.
type AdminTopicPath struct {
	Topic string `path:"topic" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the topic"`
}

// cut gives a page of a list: what match takes behind the cursor, and the cursor behind that. The list is
// sorted by name.
func cut[T any](p *AdminPage, all []T, name func(*T) string, match func(*T) bool) (page []T, next string) {
	page = []T{}
	for i := range all {
		at := name(&all[i])
		if at <= p.Cursor || !match(&all[i]) {
			continue
		}
		if len(page) == min(p.Limit, pageMost) {
			return page, name(&page[len(page)-1])
		}
		page = append(page, all[i])
	}
	return page, ""
}

// tagOf is an entity tag of what parts say.
func tagOf(parts ...any) string {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%+v", parts) // a hash takes everything
	return fmt.Sprintf(`"%016x"`, sum.Sum64())
}

// matches checks If-Match against an entity tag: empty and * take any.
func matches(ifMatch, tag, op string) error {
	if ifMatch == "" {
		return nil
	}
	for one := range strings.SplitSeq(ifMatch, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == tag {
			return nil
		}
	}
	return &badRequest{http.StatusPreconditionFailed, core.Errorf(core.CodeConfigMismatch, op,
		"If-Match is %s, the entity tag is %s: it was changed meanwhile", core.Quote(ifMatch), tag)}
}
