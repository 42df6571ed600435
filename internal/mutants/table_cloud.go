package main

const cloudTests = "./partition"

var cloud = []Mutant{
	{
		Name: "cloud-portal-redirects", Rule: "a redirect to another host is no answer of the cloud",
		File: "partition/cloud.go", Old: "if status/100 == 3 {", New: "if false {",
		Packages: cloudTests, Tests: "TestHTTPProbeTells",
	},
	{
		Name: "cloud-any-page-will-do", Rule: "a body that does not begin as asked is no answer of the cloud",
		File: "partition/cloud.go", Old: "if string(begins[:n]) == p.options.Prefix {", New: "if true {",
		Packages: cloudTests, Tests: "TestHTTPProbeTells",
	},
	{
		Name: "cloud-portal-asks-for-login", Rule: "407 and 511 come from somebody in between",
		File: "partition/cloud.go", Old: "p.options.Status == 0 && (", New: "false && (",
		Packages: cloudTests, Tests: "TestHTTPProbeTells",
	},
	{
		Name: "cloud-answer-without-end", Rule: "an answer is read up to a bound",
		File: "partition/cloud.go", Old: "io.LimitReader(conn, maxAnswer)", New: "io.LimitReader(conn, maxAnswer<<20)",
		Packages: cloudTests, Tests: "TestHTTPProbeEndless",
	},
	{
		Name: "cloud-probe-hangs", Rule: "a probe ends with its context",
		File: "partition/cloud.go", Old: "conn.SetDeadline(time.Unix(1, 0)) //", New: "_ = time.Unix //",
		Packages: cloudTests, Tests: "TestProbesEnd",
	},
	{
		Name: "cloud-connection-left-open", Rule: "a probe leaves nothing behind",
		File: "partition/cloud.go", Old: "defer conn.Close()", New: "",
		Packages: cloudTests, Tests: "TestProbesClose",
	},
	{
		Name: "cloud-password-shown", Rule: "errors show no password of a URL",
		File: "partition/cloud.go", Old: "p.url.Redacted()", New: "p.url.String()",
		Packages: cloudTests, Tests: "TestHTTPProbeRefuses",
	},
}
