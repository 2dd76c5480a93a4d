package wire

// FeatureFilters says that readers may ask for the records that pass an expression, see docs/filters.md.
const FeatureFilters uint64 = 1 << 11

// OpCheckFilter is FilterBody → Empty: what is wrong with a filter for a topic. Any node answers without a
// group.
const OpCheckFilter Op = 18

// FilterBody asks whether a filter is an expression. With a group, it also asks whether the queue group, as
// far as it has members on the answering node, has this filter.
type FilterBody struct {
	Filter string `json:"filter"` // empty: none
	Topic  string `json:"topic"`
	Group  string `json:"group,omitempty"`
}
