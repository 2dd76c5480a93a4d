package admindoc

import "github.com/leatbus/leat"

// groupsMost bounds the groups that Deleted names.
const groupsMost = 1000

// Deleted tells what went with a topic, or would.
type Deleted struct {
	Topic    string   `json:"topic"`
	DryRun   bool     `json:"dry_run"`
	Messages int64    `json:"messages"`
	Groups   []string `json:"groups" doc:"That lose their place in it; at most 1,000"`
}

// DeletedOf describes a topic that goes, with the groups that read it among all.
func DeletedOf(t *leat.TopicInfo, groups []leat.GroupInfo, dryRun bool) Deleted {
	doc := Deleted{Topic: t.Name, DryRun: dryRun, Messages: TopicOf(t).Messages, Groups: []string{}}
	for i := range groups {
		if groups[i].Topic == t.Name && len(doc.Groups) < groupsMost {
			doc.Groups = append(doc.Groups, groups[i].Group)
		}
	}
	return doc
}

// Forgotten is a group whose place on a topic was forgotten, or would be.
type Forgotten struct {
	DryRun bool `json:"dry_run"`
	Group  `yaml:",inline"`
}
