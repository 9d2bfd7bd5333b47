"""docker/ and deploy/ agree with each other and with scripts/debian-packages; no YAML parser needed."""
import os
import re
import unittest

import paths


def read(*parts):
    with open(os.path.join(paths.ROOT, *parts), encoding="utf-8") as f:
        return f.read()


class DeploymentFilesTest(unittest.TestCase):
    def test_packages_are_listed_once_under_known_sections(self):
        section, seen = None, {}
        for line in read("scripts", "debian-packages").splitlines():
            line = line.partition("#")[0].strip()
            if line.startswith("["):
                section = line
                self.assertIn(section, ("[build]", "[test]", "[npm]", "[run]"))
            elif line:
                self.assertRegex(line, r"^[a-z0-9][a-z0-9.+-]+$")
                self.assertNotIn(line, seen.setdefault(section, set()))
                seen[section].add(line)
        self.assertEqual(len(seen), 4)

    def test_yaml_has_no_tabs_and_even_indentation(self):
        for name in ("graft.yaml", "kustomization.yaml"):
            for line in read("deploy", "kubernetes", name).splitlines():
                self.assertNotIn("\t", line)
                self.assertEqual((len(line) - len(line.lstrip(" "))) % 2, 0, line)

    def test_kustomization_names_files_that_exist(self):
        for name in re.findall(r"^  - (\S+\.yaml)$", read("deploy", "kubernetes", "kustomization.yaml"), re.M):
            self.assertTrue(os.path.exists(os.path.join(paths.ROOT, "deploy", "kubernetes", name)))

    def test_ports_and_user_agree(self):
        docker, yaml = read("docker", "Dockerfile"), read("deploy", "kubernetes", "graft.yaml")
        grpc, http = re.search(r"^EXPOSE (\d+) (\d+)$", docker, re.M).groups()
        for port, name in ((grpc, "grpc"), (http, "http")):
            self.assertIn(f'"--{name}-address", "0.0.0.0:{port}"', docker)
            self.assertIn(f"--{name}-address=0.0.0.0:{port}", yaml)
            self.assertIn(f"containerPort: {port}", yaml)
            self.assertIn(f"port: {port}\n", yaml)
        (user,) = re.findall(r"^USER (\d+)$", docker, re.M)
        self.assertIn(f"runAsUser: {user}\n", yaml)
        self.assertIn(f"fsGroup: {user}\n", yaml)

    def test_pod_has_probes_and_a_hardened_context(self):
        yaml = read("deploy", "kubernetes", "graft.yaml")
        for text in ("startupProbe:", "readinessProbe:", "livenessProbe:", "path: /readyz", "path: /healthz",
                     "runAsNonRoot: true", "type: RuntimeDefault", "terminationGracePeriodSeconds:", "replicas: 1\n"):
            self.assertIn(text, yaml)
        containers = len(re.findall(r"^          image: ", yaml, re.M))
        for text in ("readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]"):
            self.assertEqual(yaml.count(text), containers, text)

    def test_drain_grace_fits_into_the_termination_grace_period(self):
        yaml = read("deploy", "kubernetes", "graft.yaml")
        drain = int(re.search(r"--drain-grace=(\d+)s", yaml).group(1))
        self.assertLess(2 * drain, int(re.search(r"terminationGracePeriodSeconds: (\d+)", yaml).group(1)))


if __name__ == "__main__":
    unittest.main()
