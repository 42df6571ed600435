package mesh

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestConfigReportsAllFaults(t *testing.T) {
	cfg := Config{
		Secret:    []byte("short"),
		Weight:    9,
		Listen:    "nowhere",
		Advertise: "0.0.0.0:1",
		Seeds:     []string{"ok.example", "bad seed:1"},
		Name:      "line\nbreak",
		Shards:    -1,
		Profile:   7,
	}
	err := cfg.Validate()
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("Validate: %v, want ErrConfig", err)
	}
	for _, field := range []string{"Dir", "Secret", "Weight", "Listen", "Advertise", "Seeds", "Name", "Shards", "Profile"} {
		if !strings.Contains(err.Error(), field+" ") {
			t.Errorf("the fault of %s is not reported: %v", field, err)
		}
	}
	if strings.Contains(err.Error(), "ok.example") || strings.Contains(err.Error(), "short") {
		t.Errorf("reported what is right, or the secret: %v", err)
	}
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrConfig) {
		t.Errorf("Start: %v, want ErrConfig", err)
	}
}

func TestConfigValues(t *testing.T) {
	good := Config{Dir: "d", Secret: testSecret}
	if err := good.Validate(); err != nil {
		t.Fatalf("the least Config is refused: %v", err)
	}
	for what, c := range map[string]struct {
		set func(*Config)
		ok  bool
	}{
		"no port to listen":      {func(c *Config) { c.Listen = "10.0.0.1" }, false},
		"any port":               {func(c *Config) { c.Listen = ":0" }, true},
		"IPv6 listen":            {func(c *Config) { c.Listen = "[::1]:7800" }, true},
		"port too large":         {func(c *Config) { c.Listen = ":70000" }, false},
		"advertise without port": {func(c *Config) { c.Advertise = "192.0.2.1" }, true},
		"advertise IPv6":         {func(c *Config) { c.Advertise = "[2001:db8::1]:1" }, true},
		"advertise a name":       {func(c *Config) { c.Advertise = "gw.example:1" }, true},
		"name without port":      {func(c *Config) { c.Advertise = "gw.example" }, true},
		"address misspelt":       {func(c *Config) { c.Advertise = "192.0.2.256" }, false},
		"advertise a sentence":   {func(c *Config) { c.Advertise = "the gateway" }, false},
		"advertise port 0":       {func(c *Config) { c.Advertise = "192.0.2.1:0" }, false},
		"advertise multicast":    {func(c *Config) { c.Advertise = "224.0.0.1:1" }, false},
		"seed IPv6":              {func(c *Config) { c.Seeds = []string{"2001:db8::1", "[::1]:9", "fe80::1%eth0"} }, true},
		"seed name":              {func(c *Config) { c.Seeds = []string{"gw-1.example", "gw:80"} }, true},
		"seed without host":      {func(c *Config) { c.Seeds = []string{":80"} }, false},
		"seed port 0":            {func(c *Config) { c.Seeds = []string{"gw:0"} }, false},
		"seed with a slash":      {func(c *Config) { c.Seeds = []string{"http://gw"} }, false},
		"weight 8":               {func(c *Config) { c.Weight = 8 }, true},
		"long name":              {func(c *Config) { c.Name = strings.Repeat("n", 65) }, false},
		"name not UTF-8":         {func(c *Config) { c.Zone = "\xff" }, false},
	} {
		cfg := good
		c.set(&cfg)
		if err := cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNoSecret(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Config{Dir: dir})
	if !errors.Is(err, ErrNoSecret) || !errors.Is(err, ErrConfig) {
		t.Errorf("Start without a secret: %v, want ErrNoSecret", err)
	}
}

func TestConfigIsCopied(t *testing.T) {
	cfg := Config{Dir: "d", Secret: bytes.Clone(testSecret), Seeds: []string{"a"}}
	got := cfg.withDefaults()
	cfg.Secret[0], cfg.Seeds[0] = 0, "b"
	if got.Secret[0] == 0 || got.Seeds[0] != "a" {
		t.Error("the node shares slices with the caller")
	}
}

func TestLogBridge(t *testing.T) {
	var out bytes.Buffer
	b := &logBridge{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for line, want := range map[string]string{
		"[WARN] memberlist: something: odd\n": `level=INFO msg="something: odd" component=memberlist`,
		"[ERR] serf: bad":                     "level=WARN msg=bad component=serf",
		"[DEBUG] memberlist: x":               "level=DEBUG msg=x component=memberlist",
		"[WARN] memberlist: Failed to send gossip to [fd73::1]:7946: sendto: network is unreachable": `level=DEBUG msg="Failed to send gossip`,
		"no level at all": `level=INFO msg="no level at all" component=gossip`,
		"":                `msg="" component=gossip`,
	} {
		out.Reset()
		if n, err := b.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: wrote %d, %v", line, n, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q became %s, want %s", line, out.String(), want)
		}
	}
}

func FuzzSeeds(f *testing.F) {
	for _, s := range []string{"a", "a:1", "[::1]:1", "::1", "a:b:c", "%", "a:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := splitSeed(s)
		if err == nil && (host == "" || !isPort(port, false)) {
			t.Fatalf("%q splits into %q and %q", s, host, port)
		}
	})
}
