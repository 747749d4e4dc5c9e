package config

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
)

// DescribePolicies writes, trunk by trunk, every value of its policy and which scope gives it in which line. Errors of w are
// w's to remember.
func (c *Config) DescribePolicies(w io.Writer) {
	keys := leaves()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		if i > 0 {
			fmt.Fprintln(table)
		}
		t := c.Trunks[name]
		site := ""
		if t.Site != "" {
			site = " of site " + t.Site
		}
		fmt.Fprintf(table, "trunk %s%s: %s\n", name, site, c.summary(name))
		for _, k := range keys {
			v := reflect.ValueOf(t.Policy).FieldByIndex(k.index)
			if v.Kind() == reflect.Slice && v.Len() > 0 && !scalarType(v.Type().Elem()) { // rules: one by one
				for j := range v.Len() {
					c.policyRow(table, name, fmt.Sprintf("%s[%d]", k.key, j), v.Index(j))
				}
				continue
			}
			c.policyRow(table, name, k.key, v)
		}
	}
	table.Flush()
}

// policyRow writes one value.
func (c *Config) policyRow(w io.Writer, trunk, key string, v reflect.Value) {
	value, ok := flow(v)
	if !ok || value == "[]" {
		value = "none"
	}
	scope, line := c.Origin(trunk, key)
	if line > 0 {
		scope = fmt.Sprintf("%s, line %d", scope, line)
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\n", key, strings.ReplaceAll(value, "\t", " "), scope)
}
