package calls

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const scrapeBytes = 4 << 20 // a page of metrics is 20 KB

// Series are the values of a page of metrics by name with labels, as the page writes them.
type Series map[string]float64

// Scrape reads a page of metrics in the Prometheus text format.
func Scrape(ctx context.Context, client *http.Client, address string) (Series, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, scrapeBytes))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", address, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", address, answer.Status)
	}
	return readSeries(string(text))
}

// readSeries reads lines of name{labels} value; comments are left out.
func readSeries(page string) (Series, error) {
	s := Series{}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("metrics: line %q has no value", line)
		}
		value, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: line %q: %w", line, err)
		}
		s[line[:i]] = value
	}
	return s, nil
}

// Sum adds a metric up over its labels; 0 for one that is not there.
func (s Series) Sum(name string) (sum float64) {
	for key, value := range s {
		if key == name || strings.HasPrefix(key, name+"{") {
			sum += value
		}
	}
	return sum
}
