"""Makes altair draw without internet. Each notebook kernel runs this file at its start, before it imports altair."""


def _register():
    import sys
    from importlib.util import find_spec

    class Finder:
        """Changes altair's default renderer after the first import of altair."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name != "altair":
                return None
            sys.meta_path.remove(Finder)
            spec = find_spec(name)
            if spec and find_spec("anywidget") and find_spec("vl_convert"):
                run = spec.loader.exec_module

                def run_and_enable(module):
                    run(module)
                    module.renderers.enable("jupyter", offline=True)

                spec.loader.exec_module = run_and_enable
            return spec

    sys.meta_path.insert(0, Finder)


_register()
del _register
