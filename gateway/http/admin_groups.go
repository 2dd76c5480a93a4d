package httpdoor

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

type adminGroupsQuery struct {
	AdminPage
	Q     string `query:"q" maxLength:"249" doc:"Only groups whose name has this in it"`
	Topic string `query:"topic" maxLength:"249" doc:"Only on this topic"`
}

type adminGroupsAnswer struct {
	Body struct {
		Groups  []admindoc.Group `json:"groups" doc:"By name and topic; at most 1,000 members of each"`
		Next    string           `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
		Missing *Problem         `json:"missing,omitempty" doc:"Why groups may be missing: nodes not reached"`
	}
}

// AdminGroupPath names a group in a path.
type AdminGroupPath struct {
	Group string `path:"group" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the group"`
}

type adminGroupAnswer struct {
	Body struct {
		Topics []admindoc.Group `json:"topics" doc:"It on each topic that it reads; at most 1,000 members of each"`
	}
}

type adminReset struct {
	AdminGroupPath
	DryRun bool `query:"dry_run" doc:"Only tell where it would lead"`
	Body   struct {
		Topic string `json:"topic" minLength:"1" maxLength:"249"`
		To    string `json:"to" minLength:"1" doc:"earliest, latest, an offset, or @TIME" example:"earliest"`
	}
}

type adminForget struct {
	AdminGroupPath
	Topic  string `query:"topic" required:"true" minLength:"1" maxLength:"249" doc:"Where it is forgotten"`
	DryRun bool   `query:"dry_run" doc:"Only tell what would go"`
}

func (d *Door) adminGroupRoutes() {
	register(d, admin("admin-list-groups", http.MethodGet, "/groups", "List groups with their lag"),
		d.adminGroups)
	register(d, admin("admin-get-group", http.MethodGet, "/groups/{group}", "Describe a group",
		http.StatusNotFound), d.adminGroup)
	register(d, admin("admin-reset-group", http.MethodPost, "/groups/{group}/reset",
		"Make a group without members go on elsewhere", http.StatusBadRequest, http.StatusNotFound,
		http.StatusConflict, http.StatusRequestedRangeNotSatisfiable), d.adminReset)
	register(d, admin("admin-delete-group", http.MethodDelete, "/groups/{group}",
		"Forget where a group without members is on a topic", http.StatusNotFound, http.StatusConflict),
		d.adminForget)
}

func (d *Door) adminGroups(ctx context.Context, in *adminGroupsQuery) (*adminGroupsAnswer, error) {
	all, err := d.bus.Groups(ctx)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	page, next := cut(&in.AdminPage, all,
		func(g *leat.GroupInfo) string { return g.Group + " " + g.Topic },
		func(g *leat.GroupInfo) bool {
			return strings.Contains(g.Group, in.Q) && (in.Topic == "" || g.Topic == in.Topic)
		})
	out := &adminGroupsAnswer{}
	out.Body.Groups, out.Body.Next = make([]admindoc.Group, len(page)), next
	for i := range page {
		doc := admindoc.GroupOf(&page[i])
		doc.Members = doc.Members[:min(len(doc.Members), pageMost)]
		out.Body.Groups[i] = doc
	}
	if err != nil {
		out.Body.Missing = problemOf(err)
	}
	return out, nil
}

// groups gives a group on all topics, or on one.
func (d *Door) groups(ctx context.Context, op, name, topic string) ([]leat.GroupInfo, error) {
	all, err := d.bus.Groups(ctx)
	all = slices.DeleteFunc(all, func(g leat.GroupInfo) bool {
		return g.Group != name || topic != "" && g.Topic != topic
	})
	if len(all) > 0 {
		return all, nil // one node coordinates a group on all topics
	}
	if err == nil {
		err = core.NewError(core.CodeGroupNotFound, op+" "+core.Quote(name), nil)
	}
	return nil, err
}

func (d *Door) adminGroup(ctx context.Context, in *AdminGroupPath) (*adminGroupAnswer, error) {
	groups, err := d.groups(ctx, "describe group", in.Group, "")
	if err != nil {
		return nil, err
	}
	out := &adminGroupAnswer{}
	for i := range groups {
		out.Body.Topics = append(out.Body.Topics, fullGroupOf(&groups[i]))
	}
	return out, nil
}

// fullGroupOf describes a group with its partitions, and the members that a page may have.
func fullGroupOf(g *leat.GroupInfo) admindoc.Group {
	doc := admindoc.FullGroupOf(g)
	doc.Members = doc.Members[:min(len(doc.Members), pageMost)]
	return doc
}

func (d *Door) adminReset(ctx context.Context, in *adminReset) (*struct{ Body admindoc.GroupReset }, error) {
	op := "reset group " + core.Quote(in.Group)
	to, err := peekPosition(in.Body.To)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, op, "to: %v", err)
	}
	info, err := d.bus.Topic(ctx, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	before, err := d.groups(ctx, "reset group", in.Group, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body admindoc.GroupReset }{admindoc.GroupReset{Group: in.Group, Topic: in.Body.Topic,
		To: in.Body.To, DryRun: in.DryRun}}
	out.Body.Begin(&before[0])
	if in.DryRun {
		if members := len(before[0].Members); members > 0 {
			return nil, core.Errorf(core.CodeGroupActive, op, "%d members", members)
		}
		return out, out.Body.Foresee(&info, to)
	}
	if err := d.bus.ResetGroup(ctx, in.Group, in.Body.Topic, to); err != nil {
		return nil, err
	}
	after, err := d.groups(ctx, "reset group", in.Group, in.Body.Topic)
	if err != nil {
		return nil, err
	}
	out.Body.End(&after[0])
	return out, nil
}

func (d *Door) adminForget(ctx context.Context, in *adminForget) (*struct{ Body admindoc.Forgotten }, error) {
	op := "delete group " + core.Quote(in.Group)
	groups, err := d.groups(ctx, "delete group", in.Group, in.Topic)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body admindoc.Forgotten }{admindoc.Forgotten{DryRun: in.DryRun,
		Group: fullGroupOf(&groups[0])}}
	if !in.DryRun {
		return out, d.bus.DeleteGroup(ctx, in.Group, in.Topic)
	}
	if members := len(groups[0].Members); members > 0 {
		return nil, core.Errorf(core.CodeGroupActive, op, "%d members", members)
	}
	return out, nil
}
