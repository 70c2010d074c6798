// Leaves printed pages empty, with LAB_DOWNLOADS=off. A script in the page can undo this.
{
  const plugin = {
    id: "labdock-walls:print", // with LAB_DOWNLOADS=on, the server disables this plugin
    description: "Leaves printed pages empty.",
    autoStart: true,
    activate: () => {
      const style = document.createElement("style")
      style.textContent = "@media print { html { display: none !important } }"
      document.head.append(style)
    },
  }
  window._JUPYTERLAB = window._JUPYTERLAB || {}
  window._JUPYTERLAB["labdock-walls"] = {
    init: () => {},
    get: async () => () => ({__esModule: true, default: [plugin]}),
  }
}
