package scale

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/node"
)

const (
	membersDefault = 1000
	backlogDefault = 100_000_000
)

// suite puts cases into scenarios.
type suite struct {
	root    string        // folder for data
	length  time.Duration // of a round of each case, about
	members int
	backlog int64
	stores  *stores // nil until a case needs them
}

// Suite measures with many members and many messages. For is about the time of each case and round, 2 s;
// Members is 1,000 and Backlog 100 million, which takes 9 GB of the disk.
func Suite(_ context.Context, o benchkit.Options) (*benchkit.Suite, error) {
	s := &suite{root: o.Dir, length: o.For, members: o.Members, backlog: o.Backlog}
	if s.length == 0 {
		s.length = 2 * time.Second
	}
	if s.members == 0 {
		s.members = membersDefault
	}
	if s.backlog == 0 {
		s.backlog = backlogDefault
	}
	result := &benchkit.Suite{Name: "scale", Close: s.close,
		About: "many members of a group, many messages of a topic"}
	for _, scenario := range []*benchkit.Scenario{
		s.membership("members", 0), s.membership("members-quic", min(connections, s.members)),
		s.publishing(), s.tailing(),
	} {
		scenario.Goals = goals()[scenario.Name]
		result.Scenarios = append(result.Scenarios, *scenario)
	}
	return result, nil
}

func (s *suite) close() error {
	if s.stores == nil {
		return nil
	}
	return s.stores.close()
}

// openBus opens a bus in a new folder, whose name is given back even if it fails.
func openBus(ctx context.Context, root string) (bus *leat.Bus, dir string, err error) {
	if dir, err = os.MkdirTemp(root, "leat-bench-scale-"); err != nil {
		return nil, "", err
	}
	bus, err = node.Open(ctx, filepath.Join(dir, "data"))
	return bus, dir, err
}
