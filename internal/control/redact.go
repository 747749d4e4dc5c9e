package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Redact is a message fit for a debug log: the same JSON, with the value of every member named "key" struck out, whatever
// its case and wherever it stands, and that of "opaque" too, which is a controller's own and may hold a key. What is not
// JSON is told by its length alone.
func Redact(raw json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() {
		return json.RawMessage(fmt.Sprintf(`"%d bytes that are not JSON"`, len(raw)))
	}
	clean, err := json.Marshal(strike(v))
	if err != nil {
		return json.RawMessage(fmt.Sprintf(`"%d bytes that cannot be shown"`, len(raw)))
	}
	return clean
}

// strike replaces secrets within v, in place where v allows it.
func strike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			switch {
			case strings.EqualFold(name, "key"), strings.EqualFold(name, "opaque"):
				v[name] = "redacted"
			default:
				v[name] = strike(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = strike(v[i])
		}
	}
	return v
}
