package digest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"tandem/internal/config"
)

const maxSecret = 1024 // bytes of a password file that are read

// Who reads the credentials of a trunk: the password of the configuration, or the first line of its password_file. It opens
// a file, so it is for starts and reloads and not for calls. The error names the file and never what is in it; the
// credentials are without a password then.
func Who(a config.Auth) (Credentials, error) {
	c := Credentials{User: a.User, Password: a.Password, Realm: a.Realm}
	if a.File == "" {
		return c, nil
	}
	var err error
	if c.Password, err = firstLine(a.File); err != nil {
		return c, fmt.Errorf("password_file: %w", err)
	}
	return c, nil
}

func firstLine(path string) (config.Secret, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path) // opening it might never return
	}
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxSecret)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) == maxSecret {
		return "", fmt.Errorf("%s: its first line is longer than %d bytes", path, maxSecret-1)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("%s: its first line is empty", path)
	}
	return config.Secret(line), nil
}
