package rival

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxDatagram = 64 << 10               // bytes of an ng message: rtpengine's own buffer
	firstRetry  = 300 * time.Millisecond // then doubled: a repeated cookie is answered from rtpengine's cache
	tries       = 6                      // 300 ms doubled five times: 19 s until an answer is given up
)

// NG is a client of the ng protocol over one UDP socket: "<cookie> <bencode>" there, "<cookie> <bencode>" back. It is safe
// for concurrent use; requests in flight share the socket and are told apart by their cookies.
type NG struct {
	conn   net.Conn
	prefix string // of our cookies: no two clients of one rtpengine may share them

	mu      sync.Mutex
	next    uint64
	waiting map[string]chan map[string]any
	err     error // why the reader ended
	done    chan struct{}
}

// NewNG makes a client of a connected datagram socket, which it closes in the end.
func NewNG(conn net.Conn) *NG {
	c := &NG{
		conn: conn, prefix: strconv.FormatInt(time.Now().UnixNano(), 36),
		waiting: map[string]chan map[string]any{}, done: make(chan struct{}),
	}
	go c.read()
	return c
}

// Close ends the client. Calls that wait return net.ErrClosed.
func (c *NG) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Call sends a command with its arguments and returns the answer's dictionary. It repeats the request with the same cookie
// while no answer comes. An answer whose result is neither ok nor pong is an error.
func (c *NG) Call(ctx context.Context, command string, arguments map[string]any) (map[string]any, error) {
	cookie, answer := c.register()
	defer c.forget(cookie)
	request := map[string]any{"command": command}
	for k, v := range arguments {
		request[k] = v
	}
	datagram := Encode([]byte(cookie+" "), request)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for try, wait := 0, firstRetry; ; {
		select {
		case got := <-answer:
			return got, refusal(command, got)
		case <-c.done:
			return nil, fmt.Errorf("ng %s: %w", command, c.err)
		case <-ctx.Done():
			return nil, fmt.Errorf("ng %s: %w", command, ctx.Err())
		case <-timer.C:
			if try == tries {
				return nil, fmt.Errorf("ng %s: no answer from %s after %d tries", command, c.conn.RemoteAddr(), tries)
			}
			// A refused port is a server that does not listen yet: the next try may find it.
			if _, err := c.conn.Write(datagram); err != nil && !isRefused(err) {
				return nil, fmt.Errorf("ng %s: %w", command, err)
			}
			timer.Reset(wait)
			try, wait = try+1, wait*2
		}
	}
}

// refusal turns an answer that is a refusal into an error.
func refusal(command string, answer map[string]any) error {
	switch result, _ := answer["result"].(string); result {
	case "ok", "pong":
		return nil
	default:
		reason, _ := answer["error-reason"].(string)
		return fmt.Errorf("ng %s: rtpengine answers %q: %s", command, result, reason)
	}
}

func (c *NG) register() (string, chan map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	cookie := c.prefix + "_" + strconv.FormatUint(c.next, 36)
	answer := make(chan map[string]any, 1)
	c.waiting[cookie] = answer
	return cookie, answer
}

func (c *NG) forget(cookie string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, cookie)
}

// read hands answers to those who wait for them, until the socket is closed.
func (c *NG) read() {
	defer close(c.done)
	buffer := make([]byte, maxDatagram)
	for {
		n, err := c.conn.Read(buffer)
		if err != nil {
			if isRefused(err) {
				continue
			}
			c.err = err
			return
		}
		cookie, answer, err := parseAnswer(string(buffer[:n]))
		if err != nil {
			continue // whoever waits asks again
		}
		c.mu.Lock()
		if to := c.waiting[cookie]; to != nil {
			to <- answer
			delete(c.waiting, cookie) // a repeated answer finds nobody
		}
		c.mu.Unlock()
	}
}

// parseAnswer splits a datagram into cookie and dictionary.
func parseAnswer(datagram string) (cookie string, answer map[string]any, err error) {
	cookie, body, found := strings.Cut(datagram, " ")
	if !found {
		return "", nil, errors.New("ng: an answer without a cookie")
	}
	v, err := Decode(body)
	if err != nil {
		return "", nil, fmt.Errorf("ng: %w", err)
	}
	answer, ok := v.(map[string]any)
	if !ok {
		return "", nil, errors.New("ng: an answer that is no dictionary")
	}
	return cookie, answer, nil
}

// isRefused tells the ICMP answer of a port without a listener from the end of the socket.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
