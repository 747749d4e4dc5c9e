package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestEveryThreadMaySleepALittleLonger(t *testing.T) {
	var said bytes.Buffer
	calmMonitor(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if said.Len() > 0 { // with cgo Go does not know all threads, as the message says
		if !strings.Contains(said.String(), "timer slack not set") {
			t.Fatal(said.String())
		}
		return
	}
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) == 0 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		if os.IsNotExist(err) {
			continue // it has ended
		}
		if os.IsPermission(err) {
			t.Skip("to read another thread's slack needs CAP_SYS_NICE")
		}
		if got, _ := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || got != int(timerSlack) {
			t.Errorf("thread %s: slack %q, %v; want %d ns", filepath.Base(thread), text, err, timerSlack)
		}
	}
}
